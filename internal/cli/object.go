package cli

import "github.com/godwit-ota/godwit/internal/jsontext"

// An object is a line of JSON in the making. Its methods take plain types, which
// is a third of the code of a literal.
type object jsontext.Fields

// begin begins a line of a type.
func begin(kind string) *object { return &object{{Name: "type", Value: kind}} }

func (o *object) add(name string, v any) { *o = append(*o, jsontext.Field{Name: name, Value: v}) }

func (o *object) text(name, v string)                   { o.add(name, v) }
func (o *object) flag(name string, v bool)              { o.add(name, v) }
func (o *object) number(name string, v int64)           { o.add(name, v) }
func (o *object) fields(name string, v *object)         { o.add(name, v.done()) }
func (o *object) list(name string, v []jsontext.Fields) { o.add(name, v) }

// some adds a text unless it is empty.
func (o *object) some(name, v string) {
	if v != "" {
		o.add(name, v)
	}
}

// done is the object as it is written; that of nil is null.
func (o *object) done() jsontext.Fields {
	if o == nil {
		return nil
	}
	return jsontext.Fields(*o)
}
