package device

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/warpscope/warpscope/agent/event"
)

// files writes a tree of files.
func files(t *testing.T, tree map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range tree {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestTheTightestCgroupCounts(t *testing.T) {
	for _, c := range []struct {
		name               string
		tree               map[string]string
		used, limit, kills int64
	}{
		{"version 2, the parent's limit", map[string]string{
			"proc/7/cgroup":         "0::/a/b\n",
			"cg/a/b/memory.current": "100\n", "cg/a/b/memory.max": "max\n", "cg/a/b/memory.events": "low 0\noom 3\noom_kill 2\n",
			"cg/a/memory.current": "150\n", "cg/a/memory.max": "400\n", "cg/a/memory.events": "oom_kill 5\n",
			"cg/memory.current": "900\n",
		}, 150, 400, 5},
		{"version 2 in a container, whose path is the host's", map[string]string{
			"proc/7/cgroup": "0::/system.slice/docker-x.scope\n", "cg/memory.current": "10\n", "cg/memory.max": "20\n", "cg/memory.events": "oom_kill 1\n",
		}, 10, 20, 1},
		{"version 1 without a limit", map[string]string{
			"proc/7/cgroup": "5:cpu:/x\n4:memory:/x\n", "cg/memory/x/memory.usage_in_bytes": "77\n", "cg/memory/x/memory.limit_in_bytes": "9223372036854771712\n",
			"cg/memory/x/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n",
		}, 77, -1, 4},
		{"none", map[string]string{"proc/7/cgroup": "0::/gone\n", "cg/else": ""}, -1, -1, -1},
		{"no such process", map[string]string{"proc/8/cgroup": "0::/\n"}, -1, -1, -1},
	} {
		root := files(t, c.tree)
		g := findGroup(filepath.Join(root, "proc"), filepath.Join(root, "cg"), 7)
		used, limit, kills := g.read()
		if used != c.used || limit != c.limit || kills != c.kills {
			t.Errorf("%s: %d of %d, %d killed; want %d of %d, %d", c.name, used, limit, kills, c.used, c.limit, c.kills)
		}
	}
}

func TestFamilyIsAllThatComeFromAProcess(t *testing.T) {
	root := files(t, map[string]string{
		"1/stat": "1 (init) S 0 1", "7/stat": "7 (python (3)) R 1 7", "8/stat": "8 (worker) S 7 7", "9/stat": "9 (a ) b) S 8 7", "10/stat": "10 (other) S 1 1",
		"11/stat": "nonsense", "self/stat": "7 (python) R 1 7",
	})
	if got := family(root, 7); !slices.Equal(got, []int32{7, 8, 9}) {
		t.Errorf("family %v", got)
	}
	if got := family(filepath.Join(root, "none"), 7); !slices.Equal(got, []int32{7}) {
		t.Errorf("without /proc: %v", got)
	}
}

func TestContainersAreToldFromCgroups(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for cgroups, want := range map[string]string{
		"0::/system.slice/docker-" + id + ".scope\n":                               "docker 0123456789ab",
		"9:memory:/docker/" + id + "\n0::/\n":                                      "docker 0123456789ab",
		"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope\n": "kubernetes 0123456789ab",
		"5:memory:/kubepods/burstable/pod1/" + id + "\n":                           "kubernetes 0123456789ab",
		"0::/user.slice/user-1000.slice/session-2.scope\n":                         "",
		"0::/docker/" + id[:40] + "\n":                                             "",
		"nonsense":                                                                 "",
		"":                                                                         "",
	} {
		if got := containerOf(cgroups); got != want {
			t.Errorf("%q: %q, want %q", cgroups, got, want)
		}
	}
}

// gathered takes batches, and the strings that they name.
type gathered struct {
	mu    sync.Mutex
	texts []string
	facts []string // "name pid value text"
	looks int
}

func (g *gathered) text(s string) event.StringID {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s == "" {
		return 0
	}
	g.texts = append(g.texts, s)
	return event.StringID(len(g.texts))
}

func (g *gathered) emit(b *event.Batch) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	name := func(id event.StringID) string {
		if id == 0 {
			return ""
		}
		return g.texts[id-1]
	}
	for i := range b.Facts.Time {
		g.facts = append(g.facts, name(b.Facts.Name[i])+" "+strconv.Itoa(int(b.Facts.PID[i]))+" "+name(b.Facts.Text[i]))
	}
	g.looks += len(b.GPUSamples.Time)
	return nil
}

func TestHostTellsOfAProgram(t *testing.T) {
	var g gathered
	h := NewHost(HostConfig{PID: os.Getpid(), Emit: g.emit, Text: g.text})
	h.Close()
	h.Close()
	want := event.FactResident + " " + strconv.Itoa(os.Getpid()) + " "
	if !slices.Contains(g.facts, want) || !slices.Contains(g.facts, event.FactHostTotal+" 0 ") {
		t.Errorf("facts %q", g.facts)
	}
}

func TestSamplerLooksWhenAskedAndSaysWhoProcessesAre(t *testing.T) {
	one := &fakeGPU{name: "a", uses: []usage{{pid: int32(os.Getpid()), bytes: 5}, {pid: 1 << 30, bytes: 6}}}
	system := openFake(t, one)
	var g gathered
	s, err := NewSampler(system, Config{Interval: time.Hour, GPUs: []event.GPUID{1}, Emit: g.emit, Text: g.text})
	if err != nil {
		t.Fatal(err)
	}
	s.Look()
	deadline := time.Now().Add(10 * time.Second)
	for one.reads.Load() < 2 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if g.looks != 3 { // the first, the one asked for, the last
		t.Errorf("%d looks", g.looks)
	}
	named := 0
	for _, f := range g.facts {
		if len(f) > len(event.FactCommand) && f[:len(event.FactCommand)] == event.FactCommand {
			named++
		}
	}
	if named != 2 { // this process, at first and once more at the end; the other does not exist
		t.Errorf("facts %q", g.facts)
	}
	if used := s.Used(func(pid int32) bool { return pid == 1<<30 }); !slices.Equal(used, []bool{true}) {
		t.Errorf("used %v", used)
	}
	if used := s.Used(func(pid int32) bool { return pid == 3 }); !slices.Equal(used, []bool{false}) {
		t.Errorf("used %v", used)
	}
}

func TestHeldSetsApartWhatNobodyHolds(t *testing.T) {
	one := &fakeGPU{name: "a", uses: []usage{{pid: int32(os.Getpid()), bytes: 3}}}
	one.reads.Store(9) // the next reading says that 10 bytes are used
	system := openFake(t, one)
	h, ok := system.Held("GPU-a")
	if !ok || h != (Held{Used: 10, Reserved: 7, Own: 3, Unowned: 7}) {
		t.Errorf("%+v, %v", h, ok)
	}
	one.uses = []usage{{pid: 1, bytes: notAvailable}}
	if h, _ := system.Held("GPU-a"); h.Own != notAvailable || h.Unowned != notAvailable {
		t.Errorf("%+v", h)
	}
	if _, ok := system.Held("GPU-b"); ok {
		t.Error("a GPU that is not there")
	}
}
