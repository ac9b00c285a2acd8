package envelope

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// wireText is a value with a grammar of its own, written as a JSON string.
// The error says what is wanted and never quotes s.
type wireText interface{ fromWire(s string) error }

// wireObject is a value that reads itself from JSON. It may keep raw.
type wireObject interface {
	fromObject(raw []byte) *DecodeError
}

// shape is how a struct is read, worked out once from its tags. The tags are
// explained in the package comment.
type shape struct {
	fields []field
	byName map[string]int
	needed uint64 // bit i: fields[i] is required
	extra  int    // index of the struct field for unknown members, or -1
}

type field struct {
	name  string
	index int
	read  readFunc

	required bool
	noNull   bool // optional, but null is refused
	keepNull bool // null is kept as a value
}

// readFunc reads the next value, which is not null unless the field allows
// null as a value.
type readFunc func(scan *scanner, v reflect.Value) *DecodeError

var shapes sync.Map // reflect.Type -> *shape

func shapeOf(t reflect.Type) *shape {
	if known, ok := shapes.Load(t); ok {
		return known.(*shape)
	}
	made, _ := shapes.LoadOrStore(t, newShape(t))
	return made.(*shape)
}

func newShape(t reflect.Type) *shape {
	s := &shape{byName: make(map[string]int), extra: -1}
	for i := range t.NumField() {
		f := t.Field(i)
		rules := strings.Split(f.Tag.Get("arcp"), ",")
		has := func(rule string) bool {
			for _, r := range rules {
				if r == rule {
					return true
				}
			}
			return false
		}
		if has("extra") {
			s.extra = i
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		anyValue := f.Type == rawMessageType
		made := field{
			name:     name,
			index:    i,
			read:     readerOf(f.Type, has("lax")),
			required: has("!"),
			noNull:   (has("!") && !anyValue) || has("="),
			keepNull: anyValue && (has("!") || has("keepnull")),
		}
		s.byName[name] = len(s.fields)
		if made.required {
			s.needed |= 1 << len(s.fields)
		}
		s.fields = append(s.fields, made)
	}
	return s
}

var (
	rawMessageType = reflect.TypeFor[json.RawMessage]()
	wireTextType   = reflect.TypeFor[wireText]()
	wireObjectType = reflect.TypeFor[wireObject]()
)

func readerOf(t reflect.Type, lax bool) readFunc {
	switch {
	case t == rawMessageType:
		return readRaw
	case t.Kind() == reflect.Pointer:
		return readPointer(readerOf(t.Elem(), lax))
	case reflect.PointerTo(t).Implements(wireObjectType):
		return readObject
	case reflect.PointerTo(t).Implements(wireTextType) && !lax:
		return readGrammar
	}
	switch t.Kind() {
	case reflect.String:
		return readString
	case reflect.Bool:
		return readBool
	case reflect.Uint32, reflect.Uint64:
		return readUint
	case reflect.Float64:
		return readFloat
	case reflect.Slice:
		return readSlice(readerOf(t.Elem(), lax))
	case reflect.Struct:
		return readStruct
	default:
		// A mistake of this package, met by the first test of the payload.
		return func(*scanner, reflect.Value) *DecodeError {
			return &DecodeError{Reason: fmt.Sprintf("cannot be read into a %s", t)}
		}
	}
}

func readStruct(scan *scanner, v reflect.Value) *DecodeError {
	if scan.dec.PeekKind() != '{' {
		return wrongType(scan, wantObject)
	}
	if _, err := scan.dec.ReadToken(); err != nil {
		return valueFault(err)
	}
	s := shapeOf(v.Type())
	var seen uint64
	for scan.dec.PeekKind() != '}' {
		name, err := scan.name()
		if err != nil {
			return valueFault(err)
		}
		i, known := s.byName[string(name)]
		if !known {
			if err := s.readUnknown(scan, v, name); err != nil {
				return valueFault(err)
			}
			continue
		}
		f := &s.fields[i]
		seen |= 1 << i
		if scan.dec.PeekKind() == 'n' && !f.keepNull {
			if f.noNull {
				return &DecodeError{Member: f.name, Reason: wantValue}
			}
			if err := scan.skip(); err != nil {
				return valueFault(err)
			}
			continue
		}
		if fault := f.read(scan, v.Field(f.index)); fault != nil {
			return under(f.name, fault)
		}
	}
	if _, err := scan.dec.ReadToken(); err != nil {
		return valueFault(err)
	}
	if missing := s.needed &^ seen; missing != 0 {
		for i := range s.fields {
			if missing&(1<<i) != 0 {
				return &DecodeError{Member: s.fields[i].name, Reason: wantPresent}
			}
		}
	}
	return nil
}

// readUnknown keeps an unknown member if the struct has a place for it.
func (s *shape) readUnknown(scan *scanner, v reflect.Value, name []byte) error {
	if s.extra < 0 {
		return scan.skip()
	}
	key := string(name)
	raw, err := scan.dec.ReadValue()
	if err != nil {
		return err
	}
	extra := v.Field(s.extra).Addr().Interface().(*map[string]json.RawMessage)
	if *extra == nil {
		*extra = make(map[string]json.RawMessage)
	}
	(*extra)[key] = json.RawMessage(raw[:len(raw):len(raw)])
	return nil
}

// wrongType tells a value of another type from text that is no JSON.
func wrongType(scan *scanner, want string) *DecodeError {
	if err := scan.skip(); err != nil {
		return valueFault(err)
	}
	return &DecodeError{Reason: want}
}

// valueFault is a fault of syntax inside a payload. Callers add the path.
func valueFault(err error) *DecodeError { return &DecodeError{Reason: syntaxReason(err).Error()} }

func readRaw(scan *scanner, v reflect.Value) *DecodeError {
	raw, err := scan.dec.ReadValue()
	if err != nil {
		return valueFault(err)
	}
	v.SetBytes(raw[:len(raw):len(raw)])
	return nil
}

func readPointer(elem readFunc) readFunc {
	return func(scan *scanner, v reflect.Value) *DecodeError {
		target := reflect.New(v.Type().Elem())
		if fault := elem(scan, target.Elem()); fault != nil {
			return fault
		}
		v.Set(target)
		return nil
	}
}

func readObject(scan *scanner, v reflect.Value) *DecodeError {
	raw, err := scan.dec.ReadValue()
	if err != nil {
		return valueFault(err)
	}
	return v.Addr().Interface().(wireObject).fromObject(raw[:len(raw):len(raw)])
}

func readGrammar(scan *scanner, v reflect.Value) *DecodeError {
	if scan.dec.PeekKind() != '"' {
		return wrongType(scan, wantString)
	}
	s, err := scan.text()
	if err != nil {
		return valueFault(err)
	}
	if err := v.Addr().Interface().(wireText).fromWire(s); err != nil {
		return &DecodeError{Reason: err.Error()}
	}
	return nil
}

func readString(scan *scanner, v reflect.Value) *DecodeError {
	if scan.dec.PeekKind() != '"' {
		return wrongType(scan, wantString)
	}
	s, err := scan.text()
	if err != nil {
		return valueFault(err)
	}
	v.SetString(s)
	return nil
}

func readBool(scan *scanner, v reflect.Value) *DecodeError {
	kind := scan.dec.PeekKind()
	if kind != 't' && kind != 'f' {
		return wrongType(scan, wantBool)
	}
	if err := scan.skip(); err != nil {
		return valueFault(err)
	}
	v.SetBool(kind == 't')
	return nil
}

func readUint(scan *scanner, v reflect.Value) *DecodeError {
	raw, err := scan.dec.ReadValue()
	if err != nil {
		return valueFault(err)
	}
	n, ok := parseUint(raw, v.Type().Bits())
	if !ok {
		return &DecodeError{Reason: wantInteger}
	}
	v.SetUint(n)
	return nil
}

func readFloat(scan *scanner, v reflect.Value) *DecodeError {
	if scan.dec.PeekKind() != '0' {
		return wrongType(scan, wantNumber)
	}
	raw, err := scan.dec.ReadValue()
	if err != nil {
		return valueFault(err)
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		return &DecodeError{Reason: "is beyond the range of a 64-bit float"}
	}
	v.SetFloat(f)
	return nil
}

func readSlice(elem readFunc) readFunc {
	return func(scan *scanner, v reflect.Value) *DecodeError {
		if scan.dec.PeekKind() != '[' {
			return wrongType(scan, wantArray)
		}
		if _, err := scan.dec.ReadToken(); err != nil {
			return valueFault(err)
		}
		list := reflect.MakeSlice(v.Type(), 0, 0)
		for scan.dec.PeekKind() != ']' {
			n := list.Len()
			list = reflect.Append(list, reflect.Zero(v.Type().Elem()))
			if fault := elem(scan, list.Index(n)); fault != nil {
				return under("["+strconv.Itoa(n)+"]", fault)
			}
		}
		if _, err := scan.dec.ReadToken(); err != nil {
			return valueFault(err)
		}
		v.Set(list)
		return nil
	}
}
