package device

import (
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

// group is a memory cgroup: the one with the lowest limit of those that a process is in.
type group struct {
	name                string // "" none
	used, limit, events string // files
	kills               string // name of the count in events
}

// findGroup returns the cgroup that limits a process's memory.
func findGroup(proc, root string, pid int) group {
	text, err := os.ReadFile(path.Join(proc, strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return group{}
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		var files func(folder string) group
		switch {
		case parts[0] == "0" && parts[1] == "":
			files = func(folder string) group {
				at := path.Join(root, folder)
				return group{name: folder, used: at + "/memory.current", limit: at + "/memory.max", events: at + "/memory.events", kills: "oom_kill"}
			}
		case strings.Contains(","+parts[1]+",", ",memory,"):
			files = func(folder string) group {
				at := path.Join(root, "memory", folder)
				return group{name: folder, used: at + "/memory.usage_in_bytes", limit: at + "/memory.limit_in_bytes", events: at + "/memory.oom_control", kills: "oom_kill"}
			}
		default:
			continue
		}
		if g := tightest(files, parts[2]); g.name != "" {
			return g
		}
	}
	return group{}
}

// tightest returns the cgroup with the lowest limit from a folder up. In a container the path may be
// the host's, which is not there: then the root is the container's own.
func tightest(files func(folder string) group, folder string) group {
	var best group
	lowest := int64(math.MaxInt64)
	for at := path.Clean("/" + folder); ; at = path.Dir(at) {
		g := files(at)
		if _, err := os.Stat(g.used); err == nil {
			if limit := number(g.limit); best.name == "" || limit >= 0 && limit < lowest {
				best = g
				if limit >= 0 {
					lowest = limit
				}
			}
		}
		if at == "/" {
			return best
		}
	}
}

// read returns bytes used, the limit (-1: none) and how many processes were killed for it; -1: not known.
func (g *group) read() (used, limit, kills int64) {
	if g.name == "" {
		return notAvailable, notAvailable, notAvailable
	}
	return number(g.used), number(g.limit), field(g.events, g.kills+" ")
}

// number reads a file with a number; -1: there is none ("max"), or it is as good as none.
func number(file string) int64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return notAvailable
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || n >= math.MaxInt64/2 { // version 1 writes 2^63 less a page
		return notAvailable
	}
	return n
}
