package exchange_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/exchange"
)

// nowhere is a sink that keeps nothing.
type nowhere struct{ rows int }

func (s *nowhere) Define(*event.Definitions) error { return nil }
func (s *nowhere) Batch(b *event.Batch) error {
	s.rows += len(b.Kernels.Start) + len(b.Copies.Start)
	return nil
}
func (s *nowhere) Live(*event.LiveSet) error { return nil }

// BenchmarkKineto reads a trace of about 110 MB.
func BenchmarkKineto(b *testing.B) {
	text := generate(690, 1)
	packed := gzipped(b, string(text))
	for _, c := range []struct {
		name    string
		src     []byte
		options exchange.Options
	}{
		{"plain", text, exchange.Options{}},
		{"operators", text, exchange.Options{Operators: true}},
		{"gzip", packed, exchange.Options{}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				var s nowhere
				if _, _, _, err := exchange.ReadKineto(context.Background(), bytes.NewReader(c.src), &s, c.options); err != nil {
					b.Fatal(err)
				}
				if s.rows != 690*100 {
					b.Fatal(s.rows)
				}
			}
		})
	}
}
