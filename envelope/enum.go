package envelope

import (
	"errors"
	"strings"
)

// oneOf sets *field to s if s is one of the values of a strict enum.
func oneOf[T ~string](field *T, s string, values ...T) error {
	for _, v := range values {
		if string(v) == s {
			*field = v
			return nil
		}
	}
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = string(v)
	}
	return errors.New("must be one of " + strings.Join(names, ", "))
}
