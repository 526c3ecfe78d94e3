// Package godwit holds the words that every other package shares: digests,
// tree entries, releases, events and error codes. It does no I/O.
//
// Godwit updates the files of a device over the air, from any Git host, and
// the device is always either the old version or the new one.
//
// # Glossary
//
//   - tip: what a ref of the source names right now; the cheapest thing to ask for.
//   - release: one version of a tree, described: its commit and its listing.
//   - verified: a release that the trust gate let through.
//   - listing: every file of a tree, in ascending byte order of path.
//   - plan: what has to happen to turn the installed tree into the release's.
//   - object: the content of one file, named by its digest.
//   - stage: objects that arrived and are not yet part of a tree.
//   - record: the few hundred bytes that say which release a device runs.
//   - trial: the time between the switch to a release and its confirmation.
//   - reconcile: make the tree on disk equal to what the record says.
package godwit
