package report

import (
	"slices"
	"strings"
)

// Symbol is a name to be shortened: as the linker has it ("" if it is not mangled), and whole.
type Symbol struct{ Mangled, Whole string }

// Shorten writes each symbol in at most width cells, so that those that differ still do: without
// return type, parameters and namespaces, with as many template arguments as fit, but at least
// those that tell two kernels of one name apart.
func Shorten(symbols []Symbol, width int) []string {
	s := newShortener(symbols)
	out := make([]string, len(symbols))
	for i := range symbols {
		out[i] = s.fit(i, width)
	}
	s.separate(out, width)
	return out
}

// shortener knows the forms of names that are shown together.
type shortener struct {
	symbols []Symbol
	forms   []form
	least   []string   // the shortest text that is unique among them
	richer  [][]string // the same names with more and more arguments, the richest first
	same    []map[string]int
}

func newShortener(symbols []Symbol) *shortener {
	s := &shortener{symbols: symbols, forms: make([]form, len(symbols)), least: make([]string, len(symbols))}
	byLabel := make(map[string][]int)
	for i, symbol := range symbols {
		s.forms[i] = formOf(symbol.Mangled, symbol.Whole)
		byLabel[s.forms[i].label] = append(byLabel[s.forms[i].label], i)
	}
	for _, group := range byLabel {
		s.distinguish(group)
	}
	for _, write := range []func(*form) string{(*form).full, (*form).telling, (*form).brief} {
		texts := make([]string, len(s.forms))
		same := make(map[string]int)
		for i := range s.forms {
			texts[i] = write(&s.forms[i])
			same[texts[i]]++
		}
		s.richer = append(s.richer, texts)
		s.same = append(s.same, same)
	}
	return s
}

// distinguish finds the least texts of names that share a label.
func (s *shortener) distinguish(group []int) {
	if len(group) == 1 {
		s.least[group[0]] = s.forms[group[0]].label
		return
	}
	chosen := s.choose(group)
	for depth := range 3 {
		count := s.count(group, chosen, depth)
		for _, i := range group {
			text := s.forms[i].short(chosen, depth)
			if s.least[i] == "" && (count[text] == 1 || depth == 2) {
				s.least[i] = text
			}
		}
	}
}

func (s *shortener) count(group, chosen []int, depth int) map[string]int {
	count := make(map[string]int)
	for _, i := range group {
		count[s.forms[i].short(chosen, depth)]++
	}
	return count
}

// choose returns the positions of arguments that tell the names of a group apart: one by one, each
// time the one that tells most of them apart, as few as it takes.
func (s *shortener) choose(group []int) []int {
	most := 0
	for _, i := range group {
		most = max(most, len(s.forms[i].args))
	}
	most = min(most, maxChoice)
	var chosen []int
	have := 1
	for have < len(group) {
		best, bestHave := -1, have
		for _, at := range s.readable(group, most) {
			if slices.Contains(chosen, at) {
				continue
			}
			with := slices.Sorted(slices.Values(append(slices.Clone(chosen), at)))
			if n := len(s.count(group, with, 2)); n > bestHave {
				best, bestHave = at, n
			}
		}
		if best < 0 {
			break
		}
		chosen = slices.Sorted(slices.Values(append(chosen, best)))
		have = bestHave
	}
	return chosen
}

// readable returns the positions of arguments, names before numbers: of two that tell names apart as
// well, the more readable one is to win.
func (s *shortener) readable(group []int, most int) []int {
	var names, numbers []int
	for at := range most {
		quiet := slices.ContainsFunc(group, func(i int) bool { return at < len(s.forms[i].args) && s.forms[i].args[at].quiet })
		if quiet {
			numbers = append(numbers, at)
		} else {
			names = append(names, at)
		}
	}
	return append(names, numbers...)
}

// maxChoice bounds the template arguments that are tried.
const maxChoice = 32

// fit returns the richest text of name i that fits, or its least one, cut.
func (s *shortener) fit(i, width int) string {
	for level, texts := range s.richer {
		if text := texts[i]; Width(text) <= width && len(text) >= len(s.least[i]) && s.same[level][text] == 1 {
			return text
		}
	}
	if least := s.least[i]; least != s.forms[i].label {
		return cutName(least, width)
	}
	return tellAnyway(&s.forms[i], width)
}

// tellAnyway writes a name that needs no argument to be told from others, with what of its
// arguments there is room for beside most of the label.
func tellAnyway(f *form, width int) string {
	text := f.brief()
	args := strings.TrimSuffix(strings.TrimPrefix(text, f.label+"<"), ">")
	if text == f.label || width < 24 {
		return CutMiddle(f.label, width)
	}
	label := f.label
	if room := width - Width(label) - 2; room < min(Width(args), 8) {
		label = Cut(label, max(width*11/20, width-2-Width(args)))
	}
	return label + "<" + Cut(args, width-2-Width(label)) + ">"
}

// cutName cuts a name; its arguments, which tell it from others, keep most of the room.
func cutName(name string, width int) string {
	if Width(name) <= width {
		return name
	}
	at := strings.IndexByte(name, '<')
	if at <= 0 || !strings.HasSuffix(name, ">") {
		return CutMiddle(name, width)
	}
	label, args := name[:at], name[at+1:len(name)-1]
	args = Cut(args, width-2-min(Width(label), 10))
	return Cut(label, width-Width(args)-2) + "<" + args + ">"
}

// separate makes texts differ whose names do, where cutting has made them alike: it shows the part
// in which they differ, or numbers them.
func (s *shortener) separate(out []string, width int) {
	same := make(map[string][]int)
	for i, text := range out {
		same[text] = append(same[text], i)
	}
	for _, group := range same {
		if len(group) == 1 || s.alike(group) {
			continue
		}
		prefix := s.least[group[0]]
		for _, i := range group[1:] {
			prefix = commonPrefix(prefix, s.least[i])
		}
		seen := make(map[string]int)
		for _, i := range group {
			text := showFrom(s.least[i], len(prefix), width)
			if seen[text]++; seen[text] > 1 {
				mark := " #" + itoa(seen[text])
				text = Cut(text, width-len(mark)) + mark
			}
			out[i] = text
		}
	}
}

// showFrom cuts a name such that what stands at byte at and after it is shown.
func showFrom(text string, at, width int) string {
	head := Cut(text, width/3)
	if open := strings.IndexByte(text, '<'); open > 0 && open < at {
		head = Cut(text[:open], width/3) + "<…"
	}
	room := width - Width(head)
	from := max(at-2, 0)
	if from <= len(head) || len(text) <= width {
		return Cut(text, width)
	}
	// The end of the name is shown too, if what differs is near it.
	from = min(from, max(len(text)-room, 0))
	return head + Cut(text[from:], room)
}

// alike says whether all names of a group are the same.
func (s *shortener) alike(group []int) bool {
	for _, i := range group[1:] {
		if s.symbols[i] != s.symbols[group[0]] {
			return false
		}
	}
	return true
}

func commonPrefix(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return a[:n]
}
