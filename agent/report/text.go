package report

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean makes text of a trace safe for a terminal: control characters, invisible ones and broken
// UTF-8 become visible marks.
func Clean(s string) string {
	safe := true
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] >= 0x7f {
			safe = false
			break
		}
	}
	if safe {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			b.WriteRune('\uFFFD')
		case r == '\n' || r == '\t' || r == '\r':
			b.WriteByte(' ')
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			b.WriteRune('\uFFFD')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Width returns the terminal cells that s takes.
func Width(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Me, r) || r == 0x200d:
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf && r != 0x303f, r >= 0xac00 && r <= 0xd7a3,
		r >= 0xf900 && r <= 0xfaff, r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6,
		r >= 0x1f300 && r <= 0x1faff, r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}

// Cut shortens s to width cells, with an ellipsis where it was longer.
func Cut(s string, width int) string {
	if Width(s) <= width {
		return s
	}
	if width < 1 {
		return ""
	}
	n := 0
	for i, r := range s {
		if n+runeWidth(r) > width-1 {
			return s[:i] + "…"
		}
		n += runeWidth(r)
	}
	return s
}

// withoutArguments drops template arguments and unnamed namespaces from a function's name.
func withoutArguments(name string) string {
	var b strings.Builder
	depth := 0
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '<' && !strings.HasSuffix(name[:i], "operator") && !strings.HasSuffix(name[:i], "operator<"):
			depth++
		case c == '>' && depth > 0 && name[i-1] != '-':
			depth--
		case depth == 0:
			b.WriteByte(c)
		}
	}
	return strings.ReplaceAll(b.String(), "(anonymous namespace)::", "")
}

// CutMiddle shortens s to width cells, keeping its beginning and its end.
func CutMiddle(s string, width int) string {
	if Width(s) <= width {
		return s
	}
	if width < 8 {
		return Cut(s, width)
	}
	tail := (width - 1) * 2 / 5
	runes := []rune(s)
	n, i := 0, len(runes)
	for i > 0 && n+runeWidth(runes[i-1]) <= tail {
		n += runeWidth(runes[i-1])
		i--
	}
	head := Cut(s, width-n)
	return head + string(runes[i:])
}

// pad fills s to width cells.
func pad(s string, width int, right bool) string {
	n := width - Width(s)
	if n <= 0 {
		return s
	}
	if right {
		return strings.Repeat(" ", n) + s
	}
	return s + strings.Repeat(" ", n)
}

// wrap breaks s into lines of at most width cells, at spaces where there are some.
func wrap(s string, width int) []string {
	if width < 16 || Width(s) <= width {
		return []string{s}
	}
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		for Width(word) > width {
			if line != "" {
				lines = append(lines, line)
				line = ""
			}
			at, n := 0, 0
			for i, r := range word {
				if n+runeWidth(r) > width {
					at = i
					break
				}
				n += runeWidth(r)
			}
			lines = append(lines, word[:at])
			word = word[at:]
		}
		switch {
		case line == "":
			line = word
		case Width(line)+1+Width(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}
