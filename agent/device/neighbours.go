package device

import (
	"bytes"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/warpscope/warpscope/agent/event"
)

// maxNeighbours bounds the processes that are described.
const maxNeighbours = 4096

// maxCommand bounds a command, in bytes.
const maxCommand = 200

// neighbour is who a process on a GPU is.
type neighbour struct {
	command   string // "" unknown: it is gone, or of another namespace
	container string // "" none, or unknown
}

// meet describes a process that is seen for the first time.
func (p *Sampler) meet(gpu int, pid int32, now event.Time) {
	if seen := p.seen[gpu]; seen == nil {
		p.seen[gpu] = map[int32]bool{pid: true}
	} else if len(seen) < maxNeighbours {
		seen[pid] = true
	}
	if p.config.Text == nil || pid <= 0 {
		return
	}
	if _, ok := p.known[pid]; ok || len(p.known) >= maxNeighbours {
		return
	}
	n := describeProcess("/proc", pid)
	p.known[pid] = n
	p.describe(pid, n, now)
}

// describeAgain repeats what is known: a trace that keeps only its end has lost the rest.
func (p *Sampler) describeAgain() {
	now := monotonic()
	for pid, n := range p.known {
		p.describe(pid, n, now)
	}
}

func (p *Sampler) describe(pid int32, n neighbour, now event.Time) {
	for _, fact := range [][2]string{{event.FactCommand, n.command}, {event.FactContainer, n.container}} {
		if fact[1] != "" {
			addFact(&p.batch.Facts, now, 0, pid, p.config.Text(fact[0]), 0, p.config.Text(fact[1]))
		}
	}
}

func addFact(f *event.Facts, now event.Time, gpu event.GPUID, pid int32, name event.StringID, value int64, text event.StringID) {
	f.Time = append(f.Time, now)
	f.GPU = append(f.GPU, gpu)
	f.PID = append(f.PID, pid)
	f.Name = append(f.Name, name)
	f.Value = append(f.Value, value)
	f.Text = append(f.Text, text)
}

// describeProcess reads who a process is.
func describeProcess(proc string, pid int32) neighbour {
	folder := path.Join(proc, strconv.Itoa(int(pid)))
	var n neighbour
	if text, err := os.ReadFile(path.Join(folder, "cmdline")); err == nil {
		text = bytes.TrimSpace(bytes.ReplaceAll(text, []byte{0}, []byte{' '}))
		n.command = strings.ToValidUTF8(string(text[:min(len(text), maxCommand)]), "")
	}
	if n.command == "" { // a kernel thread, or one that is ending
		if text, err := os.ReadFile(path.Join(folder, "comm")); err == nil {
			n.command = strings.ToValidUTF8(strings.TrimSpace(string(text)), "")
		}
	}
	if text, err := os.ReadFile(path.Join(folder, "cgroup")); err == nil {
		n.container = containerOf(string(text))
	}
	return n
}

// containerOf tells the container from a process's cgroups: the runtimes put its identifier, 64 hexadecimal digits,
// into the path ("/docker/<id>", "docker-<id>.scope", "cri-containerd-<id>.scope", "/kubepods/…/<id>").
func containerOf(cgroups string) string {
	for line := range strings.Lines(cgroups) {
		_, group, ok := strings.Cut(strings.TrimSpace(line), "::")
		if !ok { // of version 1: "number:controllers:path"
			parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
			if len(parts) != 3 {
				continue
			}
			group = parts[2]
		}
		parts := strings.Split(group, "/")
		for i := len(parts) - 1; i >= 0; i-- {
			name := strings.TrimSuffix(parts[i], ".scope")
			runtime := ""
			if at := strings.LastIndexByte(name, '-'); at >= 0 {
				runtime, name = name[:at], name[at+1:]
			}
			if !isContainerID(name) {
				continue
			}
			if runtime == "" && i > 0 && !isContainerID(parts[i-1]) {
				runtime = parts[i-1]
			}
			if strings.HasPrefix(runtime, "pod") || strings.HasPrefix(runtime, "kubepods") || strings.Contains(group, "kubepods") {
				runtime = "kubernetes"
			}
			const short = 12 // as docker ps shows it
			return strings.TrimSpace(runtime + " " + name[:short])
		}
	}
	return ""
}

func isContainerID(s string) bool {
	const digits = 64
	return len(s) == digits && strings.Trim(s, "0123456789abcdef") == ""
}
