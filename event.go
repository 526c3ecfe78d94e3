package godwit

// A Stage is a step of an update, as people and programs see it.
type Stage string

// The stages in the order in which an update passes them.
const (
	StageCheck    Stage = "check"
	StageDescribe Stage = "describe"
	StagePlan     Stage = "plan"
	StageFetch    Stage = "fetch"
	StageBuild    Stage = "build"
	StageSwitch   Stage = "switch"
	StageRestart  Stage = "restart"
	StageHealth   Stage = "health"
	StageConfirm  Stage = "confirm"
	StageRollback Stage = "rollback"
	StageRecover  Stage = "recover"
	StageVerify   Stage = "verify"
	StagePrune    Stage = "prune"
)

// A Level says how loud an Event is.
type Level uint8

// The levels.
const (
	Info     Level = iota // a step that a person wants to see
	Progress              // Done of Total; many a second
	Warning               // something is not as it should be, and went on
	Debug                 // for finding faults
)

// An Event tells what an update is doing. Events flow one way: nothing that
// receives one can change what happens.
type Event struct {
	Stage Stage
	Level Level
	Text  string // one line for a person, without a full stop; for Progress the name of one of several, or empty
	Done  int64  // Progress: units done: bytes, or files where Unit says so
	Total int64  // Progress: units in all, 0 if unknown
	Unit  string // Progress: "B" or "files"
}

// Events receives events. A nil Events drops them.
type Events func(Event)

// Emit calls e if it is not nil.
func (e Events) Emit(v Event) {
	if e != nil {
		e(v)
	}
}

// Say emits an Event with a text.
func (e Events) Say(s Stage, l Level, text string) { e.Emit(Event{Stage: s, Level: l, Text: text}) }
