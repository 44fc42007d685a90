package exchange

import (
	"math/bits"
	"strconv"
	"strings"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/exchange/pickle"
)

// settings reads the allocator's settings: those that stand apart, and the others from the text that
// the program was given.
func (l *layout) settings(root pickle.Value) {
	s := &l.out.Settings
	v, ok := l.h.Get(root, "allocator_settings")
	if !ok || v.Kind() != pickle.Dict {
		return
	}
	s.Known = true
	for _, name := range []string{"PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"} {
		if text, ok := l.h.Get(v, name); ok && s.Text == "" {
			s.Text, _ = l.h.Text(text)
		}
	}
	parseSettings(s.Text, s)
	if n, ok := l.number(v, "max_split_size"); ok {
		s.MaxSplit = unlimited(n)
	}
	if f, ok := l.h.Get(v, "garbage_collection_threshold"); ok {
		s.GC, _ = l.h.Float(f)
	}
	if n, ok := l.number(v, "expandable_segments"); ok {
		s.Expandable = n != 0
	}
	if d, ok := l.h.Get(v, "roundup_power2_divisions"); ok {
		pairs := l.h.Items(d)
		for i := 0; i+1 < len(pairs); i += 2 {
			text, _ := l.h.Text(pairs[i])
			interval, err := strconv.ParseUint(text, 10, 64)
			n, ok := l.h.Uint(pairs[i+1])
			if at := bits.Len64(interval) - 1; err == nil && ok && at >= 0 && at < len(s.Divisions) {
				s.Divisions[at] = n
			}
		}
	}
}

// unlimited is 0 for the numbers that mean no limit.
func unlimited(n uint64) uint64 {
	if n >= 1<<62 {
		return 0
	}
	return n
}

// parseSettings reads PYTORCH_CUDA_ALLOC_CONF. What it does not know it leaves alone: the allocator
// itself refuses unknown names.
func parseSettings(text string, s *event.AllocatorSettings) {
	for _, part := range splitSettings(text) {
		name, value, _ := strings.Cut(part, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		mib, err := strconv.ParseUint(value, 10, 40)
		switch name {
		case "expandable_segments":
			s.Expandable = value == "True"
		case "max_split_size_mb":
			if err == nil {
				s.MaxSplit = mib << 20
			}
		case "max_non_split_rounding_mb":
			if err == nil {
				s.NonSplitRounding = mib << 20
			}
		case "large_segment_size_mb":
			if err == nil {
				s.LargeSegment = mib << 20
			}
		case "garbage_collection_threshold":
			s.GC, _ = strconv.ParseFloat(value, 64)
		case "per_process_memory_fraction":
			s.Fraction, _ = strconv.ParseFloat(value, 64)
		case "backend":
			if value != "native" {
				s.Backend = value
			}
		case "roundup_power2_divisions":
			parseDivisions(value, s)
		}
	}
}

// splitSettings splits at the commas that are in no list.
func splitSettings(text string) []string {
	var parts []string
	depth, from := 0, 0
	for i, c := range text {
		switch c {
		case '[':
			depth++
		case ']':
			depth--
		case ',':
			if depth == 0 {
				parts = append(parts, text[from:i])
				from = i + 1
			}
		}
	}
	return append(parts, text[from:])
}

// parseDivisions reads "4", or "[256:1,512:2,>:8]": from which size in MiB on which divisions count.
func parseDivisions(value string, s *event.AllocatorSettings) {
	if n, err := strconv.ParseUint(value, 10, 32); err == nil {
		for i := range s.Divisions {
			s.Divisions[i] = n
		}
		return
	}
	first, last := true, 0
	for _, pair := range strings.Split(strings.Trim(value, "[]"), ",") {
		size, divisions, _ := strings.Cut(pair, ":")
		n, err := strconv.ParseUint(strings.TrimSpace(divisions), 10, 32)
		if err != nil {
			continue
		}
		if size = strings.TrimSpace(size); size == ">" {
			for i := last; i < len(s.Divisions); i++ {
				s.Divisions[i] = n
			}
			continue
		}
		mib, err := strconv.ParseUint(size, 10, 32)
		if err != nil || mib == 0 {
			continue
		}
		at := min(bits.Len64(mib)-1, len(s.Divisions)-1)
		for i := 0; first && i < at; i++ {
			s.Divisions[i] = n
		}
		first = false
		s.Divisions[at], last = n, at
	}
}

// marks reads what the program said of itself.
func (l *layout) marks(root pickle.Value) {
	list, ok := l.h.Get(root, "external_annotations")
	if !ok {
		return
	}
	for _, v := range l.h.Items(list) {
		v = l.h.Resolve(v)
		if v.Kind() != pickle.Dict {
			l.note("an annotation is not understood")
			continue
		}
		device, _ := l.number(v, "device")
		us, _ := l.number(v, "time_us")
		m := event.SnapshotMark{Device: int32(device & 0xffff), Time: int64(us) * 1000}
		if name, ok := l.h.Get(v, "name"); ok {
			m.Name, _ = l.h.Text(name)
		}
		if stage, ok := l.h.Get(v, "stage"); ok {
			m.Stage, _ = l.h.Text(stage)
		}
		l.out.Marks = append(l.out.Marks, m)
	}
}
