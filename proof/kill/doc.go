// Package kill proves that Godwit survives SIGKILL at each of its file-system
// calls. Its tests run the real binary under ptrace(2) and kill it right before
// its first call that changes or syncs a file, then in another run before its
// second, and so on until a run ends by itself. After each kill, godwit recover
// must find exactly the old or exactly the new version, and godwit status must
// agree with it.
//
// A killed process loses nothing that it has written: what a power cut takes
// with it is the business of the store's tests and of proof/powercut.
//
// "go test ./proof/kill" takes samples; with GODWIT_KILL=all it does everything.
package kill
