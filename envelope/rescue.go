package envelope

import (
	"bytes"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// rescue looks for the id and the type of a message that could not be read,
// as far as its JSON goes. It forgives duplicate names and bad UTF-8; of
// several ids the first well-formed one counts.
func rescue(data []byte) (id MessageID, typeName string) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(data),
		jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if dec.PeekKind() != '{' {
		return "", ""
	}
	if _, err := dec.ReadToken(); err != nil {
		return "", ""
	}
	for (id == "" || typeName == "") && dec.PeekKind() == '"' {
		raw, err := dec.ReadValue()
		if err != nil {
			break
		}
		name, _ := jsontext.AppendUnquote(nil, raw)
		value, err := dec.ReadValue()
		if err != nil {
			break
		}
		if value.Kind() != '"' || !utf8.Valid(value) {
			continue
		}
		switch string(name) {
		case "id":
			text, _ := jsontext.AppendUnquote(nil, value)
			if found, err := ParseMessageID(string(text)); err == nil && id == "" {
				id = found
			}
		case "type":
			if typeName == "" {
				text, _ := jsontext.AppendUnquote(nil, value)
				typeName = string(text)
			}
		}
	}
	return id, typeName
}
