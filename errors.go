package godwit

import (
	"errors"
	"time"
)

// A Code names a kind of failure for programs. Codes are stable: they never
// change their meaning and are never reused.
type Code string

// The codes. The comment on each group gives the exit code of the command line.
const (
	// 1: failed.
	CodeFailed        Code = "failed"         // anything without a code of its own
	CodeDiskFull      Code = "disk-full"      // no space, or not enough for the plan
	CodeReadOnly      Code = "read-only"      // the tree or the state folder cannot be written
	CodeIO            Code = "io"             // the disk answered with an error
	CodeBusy          Code = "busy"           // another godwit works on this tree
	CodeDamaged       Code = "damaged"        // state or tree is not what it should be
	CodeNewerState    Code = "newer-state"    // the state folder was written by a newer Godwit
	CodeBadPath       Code = "bad-path"       // a path that must not or cannot be installed
	CodeCaseCollision Code = "case-collision" // two paths are one on this file system
	CodeSymlink       Code = "symlink"        // a symbolic link that is not allowed or leaves the tree
	CodeSubmodule     Code = "submodule"      // the tree holds a submodule
	CodeForeignFile   Code = "foreign-file"   // something not installed by Godwit is in the way
	CodeLimit         Code = "limit"          // larger, deeper or more than allowed
	CodeBadObject     Code = "bad-object"     // a pack or object is malformed or has another digest
	CodeMissingObject Code = "missing-object" // the source did not send what it named
	CodeProtocol      Code = "protocol"       // the other side does not speak the protocol
	CodeUnauthorized  Code = "unauthorized"   // credentials are missing or refused
	CodeNotFound      Code = "not-found"      // no such repository, or not for these credentials
	CodeNoRef         Code = "no-ref"         // the repository lacks the branch, tag or channel
	CodeRedirect      Code = "redirect"       // a redirect loop, or one to another host
	CodeHook          Code = "hook"           // a hook failed or took too long
	CodeNoPrevious    Code = "no-previous"    // there is no version to go back to
	CodeNotInstalled  Code = "not-installed"  // nothing has been installed yet
	CodeModified      Code = "modified"       // verify: installed files differ from the release
	CodeBadManifest   Code = "bad-manifest"   // a manifest is malformed
	CodeWrongOld      Code = "wrong-old"      // a patch was made for another content

	// 2: wrong usage or configuration.
	CodeUsage  Code = "usage"
	CodeConfig Code = "config"

	// 4: refused by policy.
	CodeRefused  Code = "refused"
	CodeRejected Code = "rejected" // this release failed its trial on this device before

	CodeUnsigned      Code = "unsigned"       // nobody signed it
	CodeBadSignature  Code = "bad-signature"  // a signature is malformed or does not fit its text
	CodeUnknownSigner Code = "unknown-signer" // the key is not allowed to sign this, or not at that time
	CodeRevoked       Code = "revoked"        // the key was revoked
	CodeThreshold     Code = "threshold"      // not enough signers
	CodeWrongName     Code = "wrong-name"     // what is signed has another name than the host gave it
	CodeWrongProduct  Code = "wrong-product"  // it is for another product
	CodeDowngrade     Code = "downgrade"      // older than what this device accepted before
	CodeReplayed      Code = "replayed"       // a channel's older orders, or other ones with the same number
	CodeExpired       Code = "expired"        // past its Not-After
	CodeBadStatement  Code = "bad-statement"  // signed, but it makes no sense
	CodeWithdrawn     Code = "withdrawn"      // the channel that this device follows is gone
	CodeTampered      Code = "tampered"       // what came is not what was signed

	// 5: deferred.
	CodeRetryAfter Code = "retry-after" // the host asked for a pause that is not over
	CodeOnTrial    Code = "on-trial"    // the running version is not confirmed yet

	CodeHalted  Code = "halted"  // the channel was halted
	CodeRollout Code = "rollout" // the release is not for this device yet
	CodeWindow  Code = "window"  // outside the hours for installing

	CodeInterval    Code = "interval"    // the last check is not long enough ago
	CodeCrashes     Code = "crashes"     // this device crashed too often lately
	CodeBattery     Code = "battery"     // the battery is too low
	CodeSolar       Code = "solar"       // the sun does not shine on the panel now
	CodeBudget      Code = "budget"      // the link costs money and there is none left for this
	CodeAppBusy     Code = "app-busy"    // the application must not be disturbed now
	CodeResources   Code = "resources"   // too little free memory, or too slow a processor
	CodeTemperature Code = "temperature" // the device is too hot

	// 6: network unreachable, try again.
	CodeNetwork Code = "network" // no connection, it broke, or the host is failing
	CodeTimeout Code = "timeout" // the other side said nothing for too long
	CodeTLS     Code = "tls"     // the host could not prove who it is

	// 7: rolled back.
	CodeRolledBack Code = "rolled-back"
)

// Refusal reports whether c is of the group "refused by policy".
func (c Code) Refusal() bool {
	switch c {
	case CodeRefused, CodeRejected, CodeUnsigned, CodeBadSignature, CodeUnknownSigner, CodeRevoked, CodeThreshold, CodeWrongName,
		CodeWrongProduct, CodeDowngrade, CodeReplayed, CodeExpired, CodeBadStatement, CodeWithdrawn, CodeTampered:
		return true
	}
	return false
}

// Deferral reports whether c is of the group "deferred".
func (c Code) Deferral() bool {
	switch c {
	case CodeRetryAfter, CodeOnTrial, CodeHalted, CodeRollout, CodeWindow,
		CodeInterval, CodeCrashes, CodeBattery, CodeSolar, CodeBudget, CodeAppBusy, CodeResources, CodeTemperature:
		return true
	}
	return false
}

// An Error is a failure in words for a person and a Code for a program.
type Error struct {
	Code Code
	Text string // one sentence, without the final full stop
	Hint string // what to do about it; may be empty
	Err  error  // the cause; may be nil
	// Until is when it is of use to try again, for codes of the group "deferred";
	// zero if nobody can know.
	Until time.Time
}

// Error returns the sentence, followed by the cause.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Text
	}
	return e.Text + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Fail returns an *Error. cause may be nil.
func Fail(code Code, cause error, text, hint string) error {
	return &Error{Code: code, Text: text, Hint: hint, Err: cause}
}

// CodeOf returns the outermost Code in err's chain, CodeFailed if it has none,
// and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeFailed
}

// UntilOf returns the first time in err's chain at which it is of use to try again,
// or the zero time.
func UntilOf(err error) time.Time {
	for {
		var e *Error
		if !errors.As(err, &e) {
			return time.Time{}
		}
		if !e.Until.IsZero() {
			return e.Until
		}
		err = e.Err
	}
}

// HintOf returns the outermost hint in err's chain, "" if there is none.
func HintOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}
