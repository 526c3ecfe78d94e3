// Package wire speaks Git's transfer protocols as a client that fetches: it
// lists the refs of one repository and brings a pack, over HTTP, HTTPS, SSH or
// a local path.
//
// It knows pkt-lines, protocol version 2 and its predecessor version 0,
// side bands, redirects, credentials, proxies, pauses that a host asks for, and
// what the answers of things that are not Git hosts look like. What is in the
// pack, which objects to ask for and where they go is the business of
// source/git and source/git/object.
//
// Invariants: memory does not grow with the number of refs, of "have" lines or
// with the pack; credentials reach only the scheme, host and port of the
// configured URL; every failure is a godwit.Error with a code.
//
// Formats: gitprotocol-common, gitprotocol-v2, gitprotocol-pack,
// gitprotocol-http, gitprotocol-capabilities.
package wire
