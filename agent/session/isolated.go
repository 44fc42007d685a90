package session

import (
	"path/filepath"
	"strings"
)

// isolatedPython says whether a command is a Python that ignores PYTHONPATH (-I, -E) or imports no sitecustomize (-S),
// so that warpscope's module is not in it.
func isolatedPython(command []string) bool {
	if len(command) == 0 || !strings.HasPrefix(filepath.Base(command[0]), "python") {
		return false
	}
	for i := 1; i < len(command); i++ {
		option := command[i]
		if len(option) < 2 || option[0] != '-' || option[1] == '-' {
			return false
		}
		for at, letter := range option[1:] {
			switch letter {
			case 'I', 'E', 'S':
				return true
			case 'c', 'm': // the program follows
				return false
			case 'W', 'X': // with a value, here or next
				if at == len(option)-2 {
					i++
				}
			default:
				continue
			}
			break
		}
	}
	return false
}

// isolated names the processes in which warpscope's module for Python cannot be.
func (r *Result) isolated() []string {
	var who []string
	for i := range r.Processes {
		if isolatedPython(r.Processes[i].Command) {
			who = append(who, describe(&r.Processes[i]))
		}
	}
	if len(who) == 0 {
		return nil
	}
	return []string{some(who) + ": Python ignores PYTHONPATH or its site there (-I, -E, -S): no steps, stacks, pauses, input waits, operators and memory snapshots from inside"}
}
