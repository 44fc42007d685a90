package budget

import (
	"encoding/binary"
	"testing"
)

// FuzzController: whatever a damaged process reports, the controller answers, and soon.
func FuzzController(f *testing.F) {
	f.Add([]byte{})
	steady := []byte{}
	for range 400 {
		steady = append(steady, 0, 200, 4)
	}
	f.Add(steady)
	f.Add([]byte{0, 1, 1, 1, 9, 9, 2, 255, 255, 1, 0, 0, 3, 1, 1, 0, 255, 255, 4, 8, 8})
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := New(Config{Share: 0.2, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		now, count := second, uint64(0)
		for ; len(data) >= 3; data = data[3:] {
			x := int64(binary.LittleEndian.Uint16(data[1:]))
			switch data[0] % 8 {
			case 0, 1, 2:
				now += x * 50_000
				count += uint64(1 + data[0]/8)
				c.Tick(1, "call", now, count)
			case 3:
				c.Tick(int32(x%3), "other", now-x*x*1000, uint64(x)<<48)
			case 4:
				c.Switch(1, Switch{On: x%2 == 0, Began: now, Taken: now + x, Ended: now + 2*x})
			case 5:
				c.Switch(1, Switch{On: x%2 == 0, Began: now - x*second, Taken: now + x*second, Ended: x - 9})
			case 6:
				c.Gone(int32(x % 3))
			case 7:
				now += x * x * 1000
			}
			if _, again := c.Next(now); again <= now {
				t.Fatalf("ask again at %d, %d ns ago", again, now-again)
			}
		}
		c.Close(now)
		c.Result(now)
		for _, w := range c.Windows() {
			if w.Span < 0 || w.Length < 0 || w.Work < 0 || w.SpanWork < 0 {
				t.Errorf("%+v", w)
			}
		}
	})
}
