package pickle_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/exchange/pickle"
)

func read(data string, l pickle.Limits) (pickle.Value, *pickle.Heap, error) {
	return pickle.Read(context.Background(), strings.NewReader(data), nil, l)
}

// show writes a value as Python would.
func show(h *pickle.Heap, v pickle.Value) string {
	switch v.Kind() {
	case pickle.None:
		return "None"
	case pickle.Bool:
		if n, _ := h.Int(v); n == 1 {
			return "True"
		}
		return "False"
	case pickle.Int:
		if n, ok := h.Int(v); ok {
			return fmt.Sprint(n)
		}
		n, _ := h.Uint(v)
		return fmt.Sprint(n)
	case pickle.Float:
		f, _ := h.Float(v)
		return fmt.Sprint(f)
	case pickle.Text:
		s, _ := h.Text(v)
		return fmt.Sprintf("%q", s)
	}
	var parts []string
	for _, item := range h.Items(v) {
		parts = append(parts, show(h, item))
	}
	return map[pickle.Kind]string{pickle.List: "list", pickle.Tuple: "tuple", pickle.Dict: "dict"}[v.Kind()] + "(" + strings.Join(parts, " ") + ")"
}

// TestValues: what Python's pickle writes, in the protocols that write it differently.
func TestValues(t *testing.T) {
	for _, c := range []struct{ data, want string }{
		{"N.", "None"},
		{"I01\n.", "True"}, {"I00\n.", "False"}, {"I-12\n.", "-12"}, {"L12345678901234567890L\n.", "12345678901234567890"},
		{"\x80\x02\x88.", "True"}, {"\x80\x02K\xff.", "255"}, {"\x80\x02M\x01\x02.", "513"}, {"\x80\x02J\xfe\xff\xff\xff.", "-2"},
		{"\x80\x02\x8a\x00.", "0"}, {"\x80\x02\x8a\x01\xff.", "-1"}, {"\x80\x02\x8a\x06\x00\x00\x00\x00\x20\x7f.", "139775415681024"},
		{"\x80\x02\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f.", fmt.Sprint(math.MaxInt64)},
		{"\x80\x02\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80.", fmt.Sprint(math.MinInt64)},
		{"\x80\x02\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x00.", "18446744073709551615"},
		{"\x80\x02G?\xf8\x00\x00\x00\x00\x00\x00.", "1.5"}, {"F1.5\n.", "1.5"},
		{"Vgr\\u00fcn\n.", `"grün"`}, {"S'it\\'s'\n.", `"it's"`}, {"U\x03abc.", `"abc"`}, {"\x8c\x03abc.", `"abc"`},
		{"X\x03\x00\x00\x00abc.", `"abc"`}, {"\x8d\x03\x00\x00\x00\x00\x00\x00\x00abc.", `"abc"`}, {"U\x02\xff\xfe.", "\"\uFFFD\""},
		{"(dp0\nVa\np1\nI1\nsVb\np2\n(lp3\nI2\naI3\nas.", `dict("a" 1 "b" list(2 3))`},
		{"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94K\x01\x8c\x01b\x94h\x01u.", `dict("a" 1 "b" "a")`},
		{"(K\x01K\x02l.", "list(1 2)"}, {"(K\x01K\x02t.", "tuple(1 2)"}, {"(K\x01K\x02d.", "dict(1 2)"},
		{")N\x86.", "tuple(tuple() None)"}, {"K\x01\x85K\x02K\x03\x87.", ""},
		{"]q\x00(K\x01K\x02e.", "list(1 2)"}, {"]r\x00\x00\x00\x01(j\x00\x00\x00\x01]e.", ""},
	} {
		v, h, err := read(c.data, pickle.Limits{})
		if c.want == "" {
			continue // legal opcodes, illegal or endless value: it must only not panic
		}
		if err != nil {
			t.Errorf("%q: %v", c.data, err)
			continue
		}
		if got := show(h, v); got != c.want {
			t.Errorf("%q: %s, want %s", c.data, got, c.want)
		}
	}
}

// TestHostile: what would execute is refused by name, what is damaged says where, what is too large ends early.
func TestHostile(t *testing.T) {
	huge := pickle.Limits{Memory: 1 << 20}
	for name, c := range map[string]struct {
		data string
		want string
		l    pickle.Limits
	}{
		"reduce":         {data: "\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94.", want: `at byte 19, opcode STACK_GLOBAL asks for "posix.system"`},
		"global":         {data: "}(cos\nsystem\n", want: `at byte 2, opcode GLOBAL asks for "os.system"`},
		"inst":           {data: "(S'x'\nios\nsystem\n.", want: `opcode INST asks for "os.system"`},
		"build":          {data: "}}b.", want: "opcode BUILD at byte 2"},
		"newobj":         {data: "}}\x81.", want: "NEWOBJ"},
		"ext":            {data: "\x82\x01.", want: "EXT1"},
		"persistent":     {data: "Pid\n.", want: "PERSID"},
		"set":            {data: "\x8f.", want: "EMPTY_SET"},
		"bytes":          {data: "C\x01a.", want: "SHORT_BINBYTES"},
		"buffer":         {data: "\x97.", want: "NEXT_BUFFER"},
		"pop":            {data: "NN0.", want: "POP"},
		"no opcode":      {data: "\x80\x02\xfe.", want: "byte 2: 0xfe is no opcode"},
		"protocol":       {data: "\x80\x09.", want: "protocol 9"},
		"empty":          {data: "", want: "it ends at byte 0"},
		"no end":         {data: "\x80\x04}\x94(", want: "it ends at byte 5"},
		"cut text":       {data: "X\x10\x00\x00\x00abc", want: "it ends at byte 8"},
		"huge text":      {data: "\x8d\x00\x00\x00\x00\x00\x00\x00\x7fabc", want: "a text of 9151314442816847872 bytes"},
		"long text":      {data: "X\x00\x00\x10\x00abc", want: "it ends at byte 8"},
		"huge integer":   {data: "\x8b\xff\xff\xff\x7f", want: "an integer of 2147483647 bytes"},
		"big integer":    {data: "\x8a\x0a0123456789.", want: "an integer of 10 bytes"},
		"bad integer":    {data: "Ixyz\n.", want: `"xyz" is no integer`},
		"endless line":   {data: "V" + strings.Repeat("a", 1<<18), want: "a line of more than"},
		"memo":           {data: "h\x05.", want: "memo entry 5 was never made"},
		"memo far away":  {data: "]r\xff\xff\xff\xffj\xff\xff\xff\xfe.", want: "memo entry 4278190079 was never made"},
		"empty memo":     {data: "\x94.", want: "a value is missing"},
		"no mark":        {data: "K\x01u.", want: "a mark is missing"},
		"no container":   {data: "(K\x01K\x02u.", want: "items without a container"},
		"wrong one":      {data: "K\x01(K\x01K\x02u.", want: "neither a list nor a dict"},
		"odd":            {data: "}(K\x01u.", want: "a key without a value"},
		"tuple of none":  {data: "K\x01\x86.", want: "a value is missing"},
		"across a mark":  {data: "](K\x01a.", want: "items without a container"},
		"several":        {data: "NN.", want: "stops with 2 values"},
		"deep":           {data: strings.Repeat("(", 1<<17), want: "more than 65536 levels deep"},
		"many lists":     {data: strings.Repeat("]", 1<<18), want: "more than 1 MiB", l: huge},
		"many texts":     {data: many(func(i int) string { return fmt.Sprintf("U\x06%06d", i) }), want: "more than 1 MiB", l: huge},
		"many memos":     {data: "]" + strings.Repeat("\x94", 1<<18), want: "more than 1 MiB", l: huge},
		"scattered memo": {data: "]" + many(func(i int) string { return fmt.Sprintf("p%d\n", i*5000) }), want: "more than 1 MiB", l: huge},
		"many items":     {data: "](" + strings.Repeat("K\x01", 1<<18) + "e.", want: "more than 1 MiB", l: huge},
		"one by one":     {data: "]" + strings.Repeat("K\x01a", 1<<18) + ".", want: "more than 1 MiB", l: huge},
	} {
		_, _, err := read(c.data, c.l)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	var refused *pickle.RefusedError
	if _, _, err := read("cos\nsystem\n.", pickle.Limits{}); !errors.As(err, &refused) || refused.Name != "os.system" || refused.Offset != 0 {
		t.Errorf("refused: %+v", refused)
	}
	if _, _, err := read("}", pickle.Limits{}); !errors.Is(err, pickle.ErrTruncated) {
		t.Errorf("cut off: %v", err)
	}
}

func many(f func(i int) string) string {
	var b strings.Builder
	for i := range 1 << 16 {
		b.WriteString(f(i))
	}
	return b.String()
}

// TestNesting: depth costs nothing, and a list that holds itself is no trap.
func TestNesting(t *testing.T) {
	deep := strings.Repeat("]", 1<<16) + strings.Repeat("a", 1<<16-1) + "."
	if _, _, err := read(deep, pickle.Limits{}); err != nil {
		t.Error(err)
	}
	v, h, err := read("]q\x00h\x00a.", pickle.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if items := h.Items(v); len(items) != 1 || items[0] != v {
		t.Errorf("a list in itself: %v", items)
	}
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := pickle.Read(ctx, strings.NewReader("N."), nil, pickle.Limits{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// FuzzRead reads anything within 1 MiB of memory.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		"(dp0\nVa\np1\nI1\nsVb\np2\n(lp3\nI2\naI3\nas.", "\x80\x04}\x94(\x8c\x01a\x94K\x01\x8c\x01b\x94h\x01u.", "cos\nsystem\n.",
		"\x80\x02]q\x00(K\x01G?\xf8\x00\x00\x00\x00\x00\x00\x8a\x02\x01\x02e.", ")N\x86\x85\x87t.", "]r\x00\x00\x00\x01(j\x00\x00\x00\x01]e.",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, h, err := pickle.Read(context.Background(), bytes.NewReader(data), nil, pickle.Limits{Memory: 1 << 20})
		if err != nil {
			return
		}
		h.Items(v)
		h.Get(v, "a")
	})
}
