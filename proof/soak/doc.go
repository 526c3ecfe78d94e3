// Package soak lets one device live for a year of virtual time: the real loop of
// the agent, with the real engine, store, history, gates and reports, on a disk
// that forgets what was not synced. A scripted host publishes a release every three
// hours or so, some of them bad, and chance cuts the power, the link, the clock, the
// disk and the battery. All the while somebody who knows the truth compares.
//
// How real power cuts look on real disks is the business of proof/powercut, and every
// single point of an update that of the store's tests. Here it is about time: what
// adds up, what is forgotten, and what meets what.
//
// "go test ./proof/soak" takes samples of a few weeks; GODWIT_SOAK=365 takes days.
// See docs/soak.md.
package soak
