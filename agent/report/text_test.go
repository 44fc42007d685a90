package report

import (
	"strings"
	"testing"
)

func TestUnits(t *testing.T) {
	tests := []struct{ got, want string }{
		{Duration(int64(0)), "0 ns"}, {Duration(int64(999)), "999 ns"}, {Duration(1000.0), "1.00 µs"}, {Duration(int64(12_345)), "12.3 µs"},
		{Duration(int64(999_499)), "999 µs"}, {Duration(int64(999_500)), "1.00 ms"}, {Duration(int64(1_234_567_890)), "1.23 s"},
		{Duration(int64(599e9)), "599 s"}, {Duration(int64(601e9)), "10.0 min"}, {Duration(int64(8000e9)), "2.22 h"}, {Duration(int64(-5)), "-5 ns"},
		{Bytes(uint64(0)), "0 B"}, {Bytes(uint64(1023)), "1023 B"}, {Bytes(uint64(1024)), "1 KiB"}, {Bytes(uint64(1536)), "1.50 KiB"},
		{Bytes(uint64(80 << 30)), "80 GiB"}, {Bytes(uint64(1<<64 - 1)), "16 EiB"}, {Bytes(int64(-1)), "-1 B"},
		{Rate(54.1e9), "54.1 GB/s"}, {Rate(999.9e6), "1.00 GB/s"}, {Rate(12), "12.0 B/s"},
		{Count(0), "0"}, {Count(999), "999"}, {Count(44123), "44,123"}, {Count(uint64(1<<64 - 1)), "18,446,744,073,709,551,615"}, {Count(-1234), "-1,234"},
		{Share(0), "0%"}, {Share(0.0004), "<0.1%"}, {Share(0.3123), "31.2%"}, {Share(1.2), "120.0%"},
		{Offset(1_500_000_000), "1.500000 s"},
	}
	for _, test := range tests {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
}

func TestClean(t *testing.T) {
	tests := []struct{ in, want string }{
		{"plain", "plain"}, {"größer 語", "größer 語"}, {"a\x1b[31mred", "a\uFFFD[31mred"}, {"two\nlines\tx", "two lines x"},
		{"bell\a", "bell\uFFFD"}, {"\u202egnp", "\uFFFDgnp"}, {"\xff\xfe", "\uFFFD\uFFFD"}, {"\u009b31m", "\uFFFD31m"}, {"\u2028", "\uFFFD"},
	}
	for _, test := range tests {
		if got := Clean(test.in); got != test.want {
			t.Errorf("%q: got %q, want %q", test.in, got, test.want)
		}
	}
}

func TestCut(t *testing.T) {
	tests := []struct {
		cut   func(string, int) string
		in    string
		width int
		want  string
	}{
		{Cut, "short", 5, "short"}, {Cut, "longer", 5, "long…"}, {Cut, "語語語", 5, "語語…"}, {Cut, "語語語", 4, "語…"}, {Cut, "abc", 0, ""},
		{CutMiddle, "abcdefghijklmnop", 11, "abcdef…mnop"}, {CutMiddle, "abcdefghijklmnop", 16, "abcdefghijklmnop"}, {CutMiddle, "abcdefghijkl", 4, "abc…"},
		{CutMiddle, "語語語語語語語語", 10, "語語語…語"},
	}
	for _, test := range tests {
		if got := test.cut(test.in, test.width); got != test.want || Width(got) > test.width {
			t.Errorf("%q in %d: got %q, want %q", test.in, test.width, got, test.want)
		}
	}
}

func TestWrap(t *testing.T) {
	got := strings.Join(wrap("the quick brown fox jumps over the_lazy_dog_that_is_a_word_too_long_for_a_line", 20), "|")
	if want := "the quick brown fox|jumps over|the_lazy_dog_that_is|_a_word_too_long_for|_a_line"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func render(t *testing.T, d *Document, s Style) string {
	t.Helper()
	var b strings.Builder
	if err := d.Write(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTable(t *testing.T) {
	names := []string{"the first and longest name", "語語"}
	table := func() *Table {
		return &Table{
			Columns: []Column{
				{Title: "count", Right: true}, {Title: "never", Right: true}, {Title: "mean", Right: true, Drop: 1}, {Title: "max", Right: true, Drop: 2},
				{Title: "name", Min: 12, Fit: Fitted(names)},
			},
			Rows: [][]string{{"1", "", "10 ns", "100 ns", names[0]}, {"12,345", "", "9 ns", "8 ns", names[1]}},
		}
	}
	tests := []struct {
		name  string
		style Style
		want  string
	}{
		{"room for all", Style{Width: 60}, `
   count   mean     max  name
       1  10 ns  100 ns  the first and longest name
  12,345   9 ns    8 ns  語語
`},
		{"the name gives way", Style{Width: 40}, `
   count   mean     max  name
       1  10 ns  100 ns  the first and …
  12,345   9 ns    8 ns  語語
`},
		{"never narrower than 40", Style{Width: 3}, `
   count   mean     max  name
       1  10 ns  100 ns  the first and …
  12,345   9 ns    8 ns  語語
`},
		{"wide", Style{Width: 40, Wide: true}, `
   count   mean     max  name
       1  10 ns  100 ns  the first and longest name
  12,345   9 ns    8 ns  語語
`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := &Document{}
			d.Table(table())
			if got := "\n" + render(t, d, test.style); got != test.want {
				t.Errorf("got%swant%s", got, test.want)
			}
		})
	}
	t.Run("columns give way in their order", func(t *testing.T) {
		d := &Document{}
		narrow := table()
		narrow.Columns[4].Min = 20
		d.Table(narrow)
		want := `
   count   mean  name
       1  10 ns  the first and longest …
  12,345   9 ns  語語
  hidden at 40 columns: max (--wide
  shows all)
`
		if got := "\n" + render(t, d, Style{Width: 40}); got != want {
			t.Errorf("got%swant%s", got, want)
		}
	})
}

// Whatever a trace holds, nothing but our own colors reaches the terminal.
func TestDocumentIsClean(t *testing.T) {
	d := &Document{}
	evil := "x\x1b]0;title\a\ny"
	d.Title(evil)
	d.Heading("Heading", evil)
	d.Line(evil)
	d.Alert(evil)
	d.Hanging(evil)
	d.Fields([2]string{"name", evil})
	d.Table(&Table{Columns: []Column{{Title: "a"}, {Title: "b", Fit: Fitted([]string{evil})}}, Rows: [][]string{{evil, evil}}})
	if got := render(t, d, Style{Width: 80}); strings.ContainsAny(got, "\x1b\a") {
		t.Errorf("control characters get through: %q", got)
	}
	colored := render(t, d, Style{Width: 80, Color: true})
	for _, code := range []string{"\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[33m"} {
		colored = strings.ReplaceAll(colored, code, "")
	}
	if strings.ContainsAny(colored, "\x1b\a") {
		t.Errorf("control characters get through: %q", colored)
	}
}
