package bench

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/agent/ceilings"
	"github.com/warpscope/warpscope/cuda"
	"github.com/warpscope/warpscope/kernels"
)

// transposeRows and transposeColumns are positions and elements of queries, keys or values: 32k tokens of 32 heads of 128.
const transposeRows, transposeColumns = 32768, 4096

func transposeCases(g *GPU) []Case {
	var cases []Case
	for _, tiled := range []bool{false, true} {
		what, kernel := "transpose, naive", "transpose_naive"
		if tiled {
			what, kernel = "transpose, tiled", "transpose_tiled"
		}
		rows, note := transposeRows, ""
		for free := g.Free(); uint64(rows)*transposeColumns*4 > free && rows > 1024; {
			rows /= 2
			note = fmt.Sprintf("%d rows instead of %d: only %d MiB are free", rows, transposeRows, free>>20)
		}
		bytes := uint64(rows) * transposeColumns * 2
		r := result.Row{Suite: "matmul", What: what, Shape: fmt.Sprintf("%d×%d", rows, transposeColumns), Element: "u16", Kernel: kernel, Bytes: float64(2 * bytes),
			Useful: float64(2 * bytes), Memory: g.kind(ceilings.Copy, bytes)}
		if !tiled {
			r.Limit = result.ByPattern
		}
		if note != "" {
			r.Notes = append(r.Notes, note)
		}
		cases = append(cases, Case{Row: r, Needs: 2 * bytes, Prepare: func(g *GPU) (*Work, error) {
			odd, err := g.transpose(tiled, 1000, 334)
			if err != nil {
				return nil, err
			}
			v, err := odd.Verify(odd.Run)
			if err == nil {
				err = v.Err()
			}
			if err != nil {
				return nil, fmt.Errorf("wrong result at 1000×334, not timed: %w", err)
			}
			return g.transpose(tiled, rows, transposeColumns)
		}})
	}
	return cases
}

func (g *GPU) transpose(tiled bool, rows, columns int) (*Work, error) {
	bytes := uint64(rows) * uint64(columns) * 2
	in, err := g.random(bytes)
	if err != nil {
		return nil, err
	}
	out, err := g.Alloc(bytes)
	if err != nil {
		return nil, err
	}
	run, err := g.Runs(kernels.Matmuls(), kernels.Transpose(tiled, rows, columns, in, out))
	return &Work{Run: run, Verify: func(run func(int) error) (result.Verification, error) {
		v := result.Verification{Method: "rows and columns, by the host"}
		if err := errors.Join(g.poison(out, bytes), g.Once(run)); err != nil {
			return v, err
		}
		// Some rows of the result against the columns of the input that they are, read as rows of whole tiles.
		wrong, err := g.misplaced(in, out, rows, columns)
		v.Error = result.Distance(float64(wrong) / float64(rows*columns))
		return v, err
	}}, err
}

// misplaced counts elements of some tiles of 64 by 64, at both ends and between, that are not where they belong.
func (g *GPU) misplaced(in, out cuda.Pointer, rows, columns int) (wrong int, err error) {
	const tile, places = 64, 5
	at := func(i, n int) int { return max(n-tile, 0) * i / (places - 1) }
	for i := range places {
		for j := range places {
			r, c := at(i, rows), at(j, columns)
			a, err := g.tile(in, r, c, columns, tile)
			if err != nil {
				return 0, err
			}
			b, err := g.tile(out, c, r, rows, tile)
			if err != nil {
				return 0, err
			}
			for x := range tile {
				for y := range tile {
					if a[x][y] != b[y][x] {
						wrong++
					}
				}
			}
		}
	}
	return wrong, nil
}

// tile reads a square of 16-bit elements.
func (g *GPU) tile(p cuda.Pointer, row, column, columns, side int) ([][]uint16, error) {
	out, line := make([][]uint16, side), make([]byte, 2*side)
	for i := range out {
		if err := g.Driver.CopyToHost(line, p+cuda.Pointer(2*((row+i)*columns+column))); err != nil {
			return nil, err
		}
		out[i] = make([]uint16, side)
		for j := range out[i] {
			out[i][j] = binary.LittleEndian.Uint16(line[2*j:])
		}
	}
	return out, nil
}
