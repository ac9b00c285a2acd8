package envelope

import (
	"bytes"
	"reflect"

	jsonv2 "github.com/go-json-experiment/json"
)

// Decode reads the payload into a payload struct, strictly as open dialect
// section 3 says: what it marks as required must be there, values have the
// types and enums it names, unknown members are ignored. Members that hold any
// JSON value share memory with e.Payload.
//
// into is a pointer. One to a type of another package is filled by the
// ordinary rules of JSON decoding instead. The error is a [*DecodeError] whose
// member begins with "payload".
func (e *Envelope) Decode(into any) error {
	payload := e.Payload
	if payload == nil {
		payload = emptyPayload
	}
	fault := decodePayload(payload, into)
	if fault == nil {
		return nil
	}
	fault = under("payload", fault)
	fault.Code, fault.ID, fault.Type = CodeInvalidArgument, e.ID, string(e.Type)
	return fault
}

var emptyPayload = []byte("{}")

// DecodePayload reads the payload of e as a T. See [Envelope.Decode].
func DecodePayload[T any](e *Envelope) (*T, error) {
	into := new(T)
	if err := e.Decode(into); err != nil {
		return nil, err
	}
	return into, nil
}

var ownPackage = reflect.TypeFor[Envelope]().PkgPath()

func decodePayload(payload []byte, into any) *DecodeError {
	v := reflect.ValueOf(into)
	if v.Kind() == reflect.Pointer && !v.IsNil() && v.Elem().Kind() == reflect.Struct &&
		v.Elem().Type().PkgPath() == ownPackage {
		return decodeObject(payload, into)
	}
	if err := jsonv2.Unmarshal(payload, into); err != nil {
		return &DecodeError{Reason: "does not fit"}
	}
	return nil
}

// decodeObject reads a JSON object into a struct of this package. The struct
// shares memory with raw.
func decodeObject(raw []byte, into any) *DecodeError {
	if object, ok := into.(wireObject); ok {
		return object.fromObject(raw)
	}
	scan := newScanner(raw)
	defer scan.release()
	return readStruct(scan, reflect.ValueOf(into).Elem())
}

// unmarshal is decodeObject for UnmarshalJSON methods, which must not keep
// their argument.
func unmarshal(data []byte, into any) error {
	if fault := decodeObject(bytes.Clone(data), into); fault != nil {
		fault.Code = CodeInvalidArgument
		return fault
	}
	return nil
}
