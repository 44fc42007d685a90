package report

import (
	"math"
	"strconv"
	"strings"
)

// chart draws a Roofline.
type chart struct {
	r     *Roofline
	marks []rune
}

// A cell of a chart holds dots, two across and four down, and over them a character.
const (
	dotsAcross = 2
	dotsDown   = 4
	// axisCells is what the labels of the vertical axis take.
	axisCells = 12
)

// scale maps a quantity to dots, logarithmically.
type scale struct {
	low, high float64 // of the quantity's logarithm
	dots      int
}

func (s scale) dot(v float64) float64 {
	return (math.Log10(v) - s.low) / (s.high - s.low) * float64(s.dots-1)
}

func (s scale) value(dot float64) float64 {
	return math.Pow(10, s.low+dot/float64(s.dots-1)*(s.high-s.low))
}

// canvas is cells that are drawn into; row 0 is at the top.
type canvas struct {
	width, height int
	dots          []uint8
	over          []rune
	tones         []tone
}

func newCanvas(width, height int) *canvas {
	n := width * height
	return &canvas{width: width, height: height, dots: make([]uint8, n), over: make([]rune, n), tones: make([]tone, n)}
}

// dot sets one dot; y grows upwards.
func (c *canvas) dot(x, y int) {
	y = c.height*dotsDown - 1 - y
	if x < 0 || y < 0 || x >= c.width*dotsAcross || y >= c.height*dotsDown {
		return
	}
	// The order of Unicode's Braille dots: three down the left, three down the right, then the last row.
	bits := [dotsDown][dotsAcross]uint8{{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}}
	c.dots[y/dotsDown*c.width+x/dotsAcross] |= bits[y%dotsDown][x%dotsAcross]
}

// write puts text into a row, if nothing stands there yet.
func (c *canvas) write(x, row int, text string, t tone) bool {
	runes := []rune(text)
	if row < 0 || row >= c.height || x < 0 || x+len(runes) > c.width {
		return false
	}
	at := row*c.width + x
	for i := range runes {
		if c.over[at+i] != 0 || c.dots[at+i] != 0 {
			return false
		}
	}
	for i, r := range runes {
		c.over[at+i], c.tones[at+i] = r, t
	}
	return true
}

func (c *canvas) row(row int, s Style) string {
	var b strings.Builder
	var run strings.Builder
	last := plain
	for i := range c.width {
		at := row*c.width + i
		r, t := c.over[at], c.tones[at]
		if r == 0 {
			r, t = ' ', plain
			if c.dots[at] != 0 {
				r, t = 0x2800+rune(c.dots[at]), dim
			}
		}
		if t != last {
			b.WriteString(s.paint(last, run.String()))
			run.Reset()
			last = t
		}
		run.WriteRune(r)
	}
	b.WriteString(s.paint(last, run.String()))
	return b.String()
}

func (c chart) lines(s Style) []string {
	x, y, ok := c.axes()
	if !ok {
		return nil
	}
	// As wide as the page, to where more only stretches it; about as steep as a decade by a decade.
	const widest, tallest, lowest = 132, 26, 14
	width := min(s.width()-axisCells-2, widest)
	height := min(max(width/4, lowest), tallest)
	x.dots, y.dots = width*dotsAcross, height*dotsDown
	cv := newCanvas(width, height)
	c.roofs(cv, x, y)
	c.points(cv, x, y)
	c.labels(cv, x, y)
	labels := make(map[int]string)
	for d := math.Ceil(y.low); d <= y.high; d++ {
		row := height - 1 - int(math.Round(y.dot(math.Pow(10, d))))/dotsDown
		labels[row] = OperationRate(math.Pow(10, d))
		if i := strings.Index(labels[row], "."); i > 0 {
			labels[row] = labels[row][:i] + labels[row][strings.Index(labels[row], " "):]
		}
	}
	var out []string
	for row := range height {
		edge := "│"
		if labels[row] != "" {
			edge = "┤"
		}
		out = append(out, "  "+s.paint(dim, pad(labels[row], axisCells-1, true)+edge)+cv.row(row, s))
	}
	return append(out, c.bottom(x, width, s)...)
}

// bottom draws the horizontal axis.
func (c chart) bottom(x scale, width int, s Style) []string {
	line := []rune(strings.Repeat("─", width))
	text := []rune(strings.Repeat(" ", width))
	for d := math.Ceil(x.low); d <= x.high; d++ {
		at := int(math.Round(x.dot(math.Pow(10, d)))) / dotsAcross
		line[at] = '┴'
		if label := strconv.FormatFloat(math.Pow(10, d), 'f', -1, 64); at+len(label) <= width {
			copy(text[at:], []rune(label))
		}
	}
	margin := strings.Repeat(" ", axisCells+1)
	title := Cut("FLOP per byte of memory traffic", width)
	return []string{
		margin + s.paint(dim, "└"+string(line)),
		margin + s.paint(dim, " "+strings.TrimRight(string(text), " ")),
		margin + s.paint(dim, " "+strings.Repeat(" ", max(0, (width-Width(title))/2))+title),
	}
}

// axes choose what the chart shows: the points, and the corner where memory's ceiling meets the others.
func (c chart) axes() (x, y scale, ok bool) {
	bandwidth, compute := c.r.bandwidth(), c.r.operations(nil)
	if bandwidth < 0 || compute < 0 {
		return x, y, false
	}
	peak := c.r.Roofs[compute].Rate
	ridge := peak / c.r.Roofs[bandwidth].Rate
	lowX, highX, lowY := ridge/30, ridge*10, peak/100
	for i := range c.r.Points {
		if c.marks[i] == ' ' {
			continue
		}
		p := &c.r.Points[i]
		lowX, highX, lowY = min(lowX, p.Operations/p.Bytes/2), max(highX, p.Operations/p.Bytes*2), min(lowY, p.Operations/2)
	}
	for i := range c.r.Roofs {
		if f := &c.r.Roofs[i]; !f.Bandwidth && usable(f.Rate) {
			lowY = min(lowY, f.Rate/3)
		}
	}
	// Points far from everything are listed, and drawn at the edge: a chart of forty decades shows nothing.
	lowX, highX, lowY = max(lowX, ridge/1e5), min(highX, ridge*1e3), max(lowY, peak/1e6)
	x = scale{low: math.Log10(lowX), high: math.Log10(highX)}
	y = scale{low: math.Log10(lowY), high: math.Log10(peak * 2)}
	return x, y, true
}

// roofs draws the ceilings.
func (c chart) roofs(cv *canvas, x, y scale) {
	bandwidth, peak := c.r.Roofs[c.r.bandwidth()].Rate, c.r.Roofs[c.r.operations(nil)].Rate
	for i := range c.r.Roofs {
		f := &c.r.Roofs[i]
		if !usable(f.Rate) {
			continue
		}
		last := math.NaN()
		for dx := range x.dots {
			intensity := x.value(float64(dx))
			v := f.Rate
			if f.Bandwidth {
				v = min(intensity*f.Rate, peak)
				if intensity*f.Rate > peak {
					break // the flat part is that of operations
				}
			} else if intensity*bandwidth < f.Rate*0.98 {
				continue // it begins at memory's ceiling
			}
			dy := y.dot(v)
			for from := last; from < dy-1; from++ { // where it is steep
				cv.dot(dx, int(math.Round(from+1)))
			}
			cv.dot(dx, int(math.Round(dy)))
			last = dy
		}
	}
}

// points draws the letters; one that finds its cell taken stands beside it.
func (c chart) points(cv *canvas, x, y scale) {
	for i := range c.r.Points {
		if c.marks[i] == ' ' {
			continue
		}
		p := &c.r.Points[i]
		cx := int(math.Round(x.dot(p.Operations/p.Bytes))) / dotsAcross
		row := cv.height - 1 - int(math.Round(y.dot(p.Operations)))/dotsDown
		cx, row = min(max(cx, 0), cv.width-1), min(max(row, 0), cv.height-1)
		for _, beside := range []int{0, 1, -1, 2, -2, 3, -3} {
			if at := cx + beside; at >= 0 && at < cv.width && cv.over[row*cv.width+at] == 0 {
				cv.over[row*cv.width+at], cv.tones[row*cv.width+at] = c.marks[i], bold
				break
			}
		}
	}
}

// labels writes the ceilings' names where there is room: flat ones over their right end, slanted ones left of
// their middle.
func (c chart) labels(cv *canvas, x, y scale) {
	for i := range c.r.Roofs {
		f := &c.r.Roofs[i]
		if !usable(f.Rate) {
			continue
		}
		text := Clean(f.text(false))
		if f.Bandwidth {
			for row := cv.height / 3; row < cv.height-1; row++ {
				v := y.value(float64((cv.height-1-row)*dotsDown + dotsDown/2))
				at := int(x.dot(v/f.Rate))/dotsAcross - 3
				if cv.write(at-Width(text), row, text, dim) {
					break
				}
			}
			continue
		}
		row := cv.height - 1 - int(math.Round(y.dot(f.Rate)))/dotsDown
		if !cv.write(cv.width-Width(text), row-1, text, dim) {
			cv.write(cv.width-Width(text), row+1, text, dim)
		}
	}
}
