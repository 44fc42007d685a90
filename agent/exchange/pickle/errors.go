package pickle

import (
	"errors"
	"fmt"
)

// ErrTruncated is wrapped by the error for a pickle that ends too early.
var ErrTruncated = errors.New("the pickle is cut off")

// RefusedError is an opcode that data does not need.
type RefusedError struct {
	Offset int64  // bytes from the beginning
	Opcode string // as Python's pickletools names it
	Name   string // what it asks for: "posix.system"; "" where it names nothing
}

func (e *RefusedError) Error() string {
	if e.Name != "" {
		return fmt.Sprintf("refused: at byte %d, opcode %s asks for %q; data needs none, and nothing in a pickle is executed", e.Offset, e.Opcode, e.Name)
	}
	return fmt.Sprintf("refused: opcode %s at byte %d; data needs none of it, and nothing in a pickle is executed", e.Opcode, e.Offset)
}

// DamageError is what is no pickle, or one that breaks off.
type DamageError struct {
	Offset int64 // bytes from the beginning
	What   string
	cause  error
}

func (e *DamageError) Error() string { return fmt.Sprintf("byte %d: %s", e.Offset, e.What) }
func (e *DamageError) Unwrap() error { return e.cause }

// LimitError is a pickle that would take more than it is allowed.
type LimitError struct {
	Offset int64 // bytes from the beginning
	What   string
}

func (e *LimitError) Error() string { return fmt.Sprintf("byte %d: %s", e.Offset, e.What) }
