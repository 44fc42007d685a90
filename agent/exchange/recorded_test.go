package exchange_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/analyze"
)

// torchCounts is what torch said of itself when a snapshot was recorded on a GPU.
type torchCounts struct {
	Torch, Device, Conf, Message string
	Limit                        uint64
	Actions                      map[string]int
	Reserved                     uint64 `json:"reserved_bytes.all.current"`
	ReservedPeak                 uint64 `json:"reserved_bytes.all.peak"`
	Allocated                    uint64 `json:"allocated_bytes.all.current"`
	Requested                    uint64 `json:"requested_bytes.all.current"`
	RequestedPeak                uint64 `json:"requested_bytes.all.peak"`
	Retries                      uint64 `json:"num_alloc_retries"`
	OOMs                         uint64 `json:"num_ooms"`
}

// TestRecordedSnapshots: what is read of snapshots that PyTorch recorded on a GPU is what torch counted
// itself, the model repeats what the allocator did, and what it predicts for other settings is what runs
// under them had.
func TestRecordedSnapshots(t *testing.T) {
	folder := filepath.Join("testdata", "torch")
	names, err := filepath.Glob(filepath.Join(folder, "*.pickle.gz"))
	if err != nil || len(names) < 10 {
		t.Fatalf("%d recorded snapshots, %v", len(names), err)
	}
	counts, replays := map[string]torchCounts{}, map[string]*analyze.Replay{}
	for _, name := range names {
		name = strings.TrimSuffix(filepath.Base(name), ".pickle.gz")
		t.Run(name, func(t *testing.T) {
			var c torchCounts
			text, err := os.ReadFile(filepath.Join(folder, name+".json"))
			if err != nil || json.Unmarshal(text, &c) != nil {
				t.Fatal(err)
			}
			s := readSnapshot(t, filepath.Join("..", "torch", name+".pickle.gz"))
			if len(s.Notes) > 0 {
				t.Errorf("notes: %q", s.Notes)
			}
			d := &s.Devices[0]
			actions := map[string]int{}
			for _, e := range d.Events {
				actions[actionNames[e.Action]]++
			}
			for a, n := range c.Actions {
				if actions[a] != n {
					t.Errorf("%d events %s, torch %d", actions[a], a, n)
				}
			}
			m := analyze.TensorsOf(s)[0]
			if m.Now.Reserved != c.Reserved || m.Now.Live != c.Allocated || m.Now.Requested+m.Now.Pending < c.Requested || m.History.MaxHeld != c.ReservedPeak {
				t.Errorf("reserved %d, allocated %d, requested %d, peak %d; torch %d, %d, %d, %d", m.Now.Reserved, m.Now.Live, m.Now.Requested, m.History.MaxHeld,
					c.Reserved, c.Allocated, c.Requested, c.ReservedPeak)
			}
			r := m.Replay
			counts[name], replays[name] = c, r
			if s.Settings.GC > 0 {
				if r.Refused == "" {
					t.Error("a history with garbage collection is played")
				}
				return
			}
			off := math.Abs(float64(r.Recorded.Peak)/float64(c.ReservedPeak) - 1)
			t.Logf("%.2f%% of %d segment events, peak %.2f%% off, %d retries (torch %d), %d failures (torch %d) %s", r.Reproduced*100, r.SegmentEvents, off*100,
				r.Recorded.Retries, c.Retries, r.OOMs, c.OOMs, r.Refused)
			if name == "graphs-native" {
				// The model knows no pools of CUDA graphs: it must say so by its own check.
				if r.Refused == "" || len(r.Others) > 0 {
					t.Errorf("a history with graphs' pools, of which %.4f is repeated, predicts %d others", r.Reproduced, len(r.Others))
				}
				return
			}
			if r.Refused != "" || r.Reproduced < 0.99 || off > 0.01 || r.OOMs != c.OOMs {
				t.Errorf("%.4f of %d segment events, peak %d, torch %d, %d failures, torch %d: %s", r.Reproduced, r.SegmentEvents, r.Recorded.Peak, c.ReservedPeak, r.OOMs, c.OOMs, r.Refused)
			}
		})
	}
	for _, c := range []struct{ from, to, conf string }{
		{"gpt-native", "gpt-expandable", "expandable_segments:True"}, {"gpt-native", "gpt-split128", "max_split_size_mb:128"},
		{"shapes-native", "shapes-expandable", "expandable_segments:True"}, {"shapes-expandable", "shapes-native", "expandable_segments:False"},
		{"big-native", "big-expandable", "expandable_segments:True"}, {"big-native", "big-split128", "max_split_size_mb:128"},
		{"oom-native", "oom-expandable", "expandable_segments:True"},
	} {
		from, to := replays[c.from], counts[c.to]
		if from == nil {
			t.Errorf("%s is missing", c.from)
			continue
		}
		found := false
		for _, run := range from.Others {
			if run.Settings != c.conf {
				continue
			}
			found = true
			off := math.Abs(float64(run.Peak)/float64(to.ReservedPeak) - 1)
			t.Logf("%s under %s: %d MiB predicted, %d MiB in a real run (%.1f%% off); failures %d to %d, really %d", c.from, c.conf, run.Peak>>20, to.ReservedPeak>>20, off*100, run.OOMsHigh, run.OOMs, to.OOMs)
			if off > 0.05 && to.OOMs == 0 {
				t.Errorf("%s under %s: the peak is %.1f%% off", c.from, c.conf, off*100)
			}
			if to.OOMs == 0 && run.OOMsHigh > 0 || to.OOMs > 0 && run.OOMs == 0 {
				t.Errorf("%s under %s: %d to %d failures predicted, %d in a real run", c.from, c.conf, run.OOMsHigh, run.OOMs, to.OOMs)
			}
		}
		if !found {
			t.Errorf("%s: nothing predicted for %s", c.from, c.conf)
		}
	}
}
