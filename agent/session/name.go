package session

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// DefaultOutput is the trace's file name where none is given.
const DefaultOutput = "warpscope-%p.wscope"

// Names is what the placeholders of a file name stand for.
type Names struct {
	Rank string // %r
	Host string // %h
	PID  int    // %p; 0 where it is not known yet
}

// errNeedsPID is returned by Names.Expand for a name with %p before there is a PID.
var errNeedsPID = errors.New("the name needs a PID")

// Expand replaces %r by the rank, %h by the host's name, %p by the program's PID and %% by %.
func (n Names) Expand(pattern string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] != '%' {
			b.WriteByte(pattern[i])
			continue
		}
		i++
		if i == len(pattern) {
			return "", fmt.Errorf("file name %q ends in a single %%: write %%%% for a percent sign", pattern)
		}
		switch pattern[i] {
		case 'r':
			b.WriteString(n.Rank)
		case 'h':
			b.WriteString(n.Host)
		case 'p':
			if n.PID == 0 {
				return "", errNeedsPID
			}
			b.WriteString(strconv.Itoa(n.PID))
		case '%':
			b.WriteByte('%')
		default:
			return "", fmt.Errorf("file name %q: %%%c is none of %%r (rank), %%h (host), %%p (PID) and %%%%", pattern, pattern[i])
		}
	}
	return b.String(), nil
}

// Rank returns the program's rank among the processes of a job as its launcher put it into the
// environment (torchrun, Slurm, Open MPI, MPICH and Intel MPI), or -1 if there is none.
func Rank(environ []string) int {
	for _, name := range []string{"RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK"} {
		value, ok := lookup(environ, name)
		if !ok {
			continue
		}
		// Anything but a number is somebody else's variable of that name, and must not get
		// into a file name.
		if rank, err := strconv.ParseUint(value, 10, 31); err == nil {
			return int(rank)
		}
	}
	return -1
}
