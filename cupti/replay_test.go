package cupti_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/warpscope/warpscope/cupti"
	"github.com/warpscope/warpscope/cupti/abi"
)

var update = flag.Bool("update", false, "rewrite the goldens")

// memory reads what the decoder wrote, by the generated mirror of ws_abi.h.
type memory []byte

func at[T any](m memory, offset uint64) *T {
	var t T
	if offset+uint64(unsafe.Sizeof(t)) > uint64(len(m)) {
		return nil
	}
	return (*T)(unsafe.Pointer(&m[offset]))
}

func (m memory) header() *abi.Header { return at[abi.Header](m, 0) }

func (m memory) text(id uint32) string {
	if id == 0 {
		return ""
	}
	offset := m.header().Arena.Offset + uint64(id)*8
	size := uint64(at[abi.Object](m, offset).Size)
	return string(m[offset+8 : offset+8+size])
}

func (m memory) launch(id uint32) string {
	if id == 0 {
		return "-"
	}
	l := at[abi.Launch](m, m.header().Arena.Offset+uint64(id)*8+8)
	return fmt.Sprintf("%s grid=%v block=%v cluster=%v regs=%d shared=%d+%d local=%d/%d", m.text(l.Name), l.Grid, l.Block, l.Cluster,
		l.Registers, l.Static_shared, l.Dynamic_shared, l.Local_thread, l.Local_total)
}

// dump writes one line a record, as the goldens have it.
func (m memory) dump(t *testing.T) (lines []string, count map[uint8]int) {
	t.Helper()
	count = map[uint8]int{}
	data := m.header().Timeline_ring.Offset + abi.Page
	reserved := at[abi.Ring](m, m.header().Timeline_ring.Offset).Reserved
	for p := uint64(0); p < reserved; {
		rec := at[abi.Rec](m, data+p)
		if rec.Commit != uint32(p/abi.Slot)+1 || rec.Slots == 0 {
			t.Fatalf("position %d: commit %d, slots %d", p, rec.Commit, rec.Slots)
		}
		count[rec.Type]++
		lines = append(lines, m.line(rec, data+p))
		p += uint64(rec.Slots) * abi.Slot
	}
	return lines, count
}

func (m memory) line(rec *abi.Rec, offset uint64) string {
	switch rec.Type {
	case abi.RecKernel:
		r := at[abi.Kernel](m, offset)
		return fmt.Sprintf("kernel start=%d dur=%d dev=%d ctx=%d stream=%d corr=%d graph=%d/%d %s", r.Start, r.End-r.Start, r.Device,
			r.Context, r.Stream, r.Correlation, r.Graph, r.Node, m.launch(r.Launch))
	case abi.RecCopy:
		r := at[abi.Copy](m, offset)
		return fmt.Sprintf("copy start=%d dur=%d bytes=%d kind=%d %d->%d flags=%d dev=%d ctx=%d stream=%d corr=%d", r.Start, r.End-r.Start,
			r.Bytes, r.Kind, r.Src, r.Dst, rec.Flags, r.Device, r.Context, r.Stream, r.Correlation)
	case abi.RecSet:
		r := at[abi.Set](m, offset)
		return fmt.Sprintf("set start=%d dur=%d bytes=%d value=%d memory=%d stream=%d corr=%d", r.Start, r.End-r.Start, r.Bytes, r.Value,
			r.Memory, r.Stream, r.Correlation)
	case abi.RecSync:
		r := at[abi.Sync](m, offset)
		return fmt.Sprintf("sync start=%d dur=%d type=%d ctx=%d stream=%d event=%d corr=%d", r.Start, r.End-r.Start, r.Type, r.Context,
			int32(r.Stream), r.Event, r.Correlation)
	case abi.RecApi:
		r := at[abi.Api](m, offset)
		return fmt.Sprintf("api enter=%d dur=%d domain=%d cbid=%d thread=%d result=%d corr=%d", r.Enter, r.Exit-r.Enter, r.Domain, r.Cbid,
			r.Thread, r.Result, r.Correlation)
	case abi.RecMarker:
		r := at[abi.Marker](m, offset)
		return fmt.Sprintf("marker flags=%d time=%d id=%d thread=%d text=%q domain=%q payload=%d:%d color=%x category=%d", rec.Flags, r.Time, r.Id,
			r.Thread, m.text(r.Text), m.text(r.Domain), r.Kind, r.Payload, r.Color, r.Category)
	case abi.RecGraph:
		r := at[abi.Graph](m, offset)
		return fmt.Sprintf("graph start=%d dur=%d graph=%d dev=%d ctx=%d stream=%d corr=%d", r.Start, r.End-r.Start, r.Graph, r.Device,
			r.Context, r.Stream, r.Correlation)
	case abi.RecOverhead:
		r := at[abi.Overhead](m, offset)
		return fmt.Sprintf("overhead start=%d dur=%d kind=%d thread=%d", r.Start, r.End-r.Start, r.Kind, r.Thread)
	}
	return fmt.Sprintf("type %d", rec.Type)
}

// TestReplay decodes what each version of CUPTI wrote on an H100 and compares every field with the
// golden; the number of records is the one that the recorder counted itself.
func TestReplay(t *testing.T) {
	files, _ := filepath.Glob("testdata/raw/*.bin")
	if len(files) < 4 {
		t.Fatalf("testdata/raw holds %d recordings, want those of 11.8, 12.8, 12.9 and 13.0 at least", len(files))
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			dump, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			m, n, err := cupti.Replay(dump)
			if err != nil {
				t.Fatal(err)
			}
			var total int64
			for tag, payload := range chunks(t, dump) {
				if tag == 'R' {
					total = int64(payload)
				}
			}
			if n != total {
				t.Errorf("%d records decoded, the file holds %d", n, total)
			}
			lines, _ := memory(m).dump(t)
			got := strings.Join(lines, "\n") + "\n"
			golden := strings.TrimSuffix(file, ".bin") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("decoded records differ from %s; go test ./cupti -update shows how", golden)
			}
			for _, row := range memory(m).header().Lost {
				if row != [8]uint64{} {
					t.Errorf("the decoder counted losses: %v", memory(m).header().Lost)
					break
				}
			}
		})
	}
}

// chunks counts the chunks of a recording by tag.
func chunks(t *testing.T, dump []byte) map[uint32]int {
	t.Helper()
	count := map[uint32]int{}
	for at := 16; at < len(dump); {
		count[binary.LittleEndian.Uint32(dump[at:])]++
		at += 8 + int(binary.LittleEndian.Uint32(dump[at+4:]))
	}
	return count
}

func TestReplayOfDamage(t *testing.T) {
	files, _ := filepath.Glob("testdata/raw/*.bin")
	if len(files) == 0 {
		t.Fatal("no recordings")
	}
	dump, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut < len(dump); cut += 97 {
		_, n, err := cupti.Replay(dump[:cut])
		if err == nil && n == 0 && cut > 200 {
			t.Errorf("cut at %d: no record and no error", cut)
		}
	}
	for name, bad := range map[string][]byte{"empty": nil, "foreign": []byte("#!/bin/sh\nexit 0\n # long enough")} {
		if _, _, err := cupti.Replay(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestMirrorCoversEveryRecord(t *testing.T) {
	for _, r := range []any{abi.Kernel{}, abi.Copy{}, abi.Set{}, abi.Sync{}, abi.Api{}, abi.Marker{}, abi.Graph{}, abi.Overhead{}} {
		if size := reflect.TypeOf(r).Size(); size != abi.Slot {
			t.Errorf("%T has %d bytes", r, size)
		}
	}
}
