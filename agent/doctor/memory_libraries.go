package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
)

const librariesID = "memory.libraries"

// libraryAdvice is what makes a library take less.
var libraryAdvice = [...]struct{ prefix, change, paste string }{
	{"libnccl", "give NCCL fewer channels and smaller buffers, and share or close communicators", "export NCCL_MAX_NCHANNELS=8 NCCL_BUFFSIZE=2097152\ntorch.distributed.split_group(…)   # instead of new_group for each"},
	{"libcublas", "give cuBLAS smaller workspaces: there is one for each stream and handle", "export CUBLAS_WORKSPACE_CONFIG=:4096:2 CUBLASLT_WORKSPACE_SIZE=4096"},
	{"libcudnn", "let cuDNN choose algorithms with less workspace", "torch.backends.cudnn.benchmark = False"},
	{"libcufft", "keep fewer FFT plans", "torch.backends.cuda.cufft_plan_cache.max_size = 4"},
	{"libcusolver", "give handles back, or call such functions from one stream", ""},
}

// libraries: what libraries hold beside the program's own allocator.
func libraries() MemoryRule {
	return MemoryRule{ID: librariesID, What: "workspaces and buffers of libraries", account: true, judge: func(c *MemoryCase) (*Finding, string, string) {
		if c.P == nil {
			return nil, "", "who asked the driver for memory is in a trace: warpscope run --mode ledger"
		}
		type row struct {
			library, name string
			bytes, count  uint64
		}
		var rows []row
		all := uint64(0)
		for _, l := range c.P.Lines {
			if l.ID != analyze.LineDriver || l.Library == "" || !strings.HasPrefix(l.Library, "lib") || !known(l.Library) {
				continue
			}
			all += l.Bytes
			if at := slices.IndexFunc(rows, func(r row) bool { return r.library == l.Library }); at >= 0 {
				rows[at].bytes, rows[at].count = rows[at].bytes+l.Bytes, rows[at].count+l.Count
				continue
			}
			rows = append(rows, row{l.Library, l.Name, l.Bytes, l.Count})
		}
		if all < 256<<20 || part(all, max(c.capacity(), uint64(*orZero(c.G.Used)))) < 0.015 {
			return nil, fmt.Sprintf("libraries hold %s beside the program's own allocator", size(all)), ""
		}
		slices.SortFunc(rows, func(x, y row) int { return cmp.Compare(y.bytes, x.bytes) })
		f := &Finding{
			Title:      fmt.Sprintf("Libraries hold %s: %s %s", size(all), rows[0].name, size(rows[0].bytes)),
			Confidence: High, Cost: Cost{Bytes: all, Share: part(all, max(c.capacity(), 1)), Source: Counted}, Fix: []Fix{},
		}
		for _, r := range rows {
			f.Evidence = append(f.Evidence, bytesOf(fmt.Sprintf("%s, in %d allocations", r.name, r.count), r.bytes, Counted, r.library))
			for _, a := range libraryAdvice {
				if strings.HasPrefix(r.library, a.prefix) && r.bytes*10 >= all {
					f.Fix = append(f.Fix, Fix{Change: a.change, Direction: "lower", Gain: "a part of " + size(r.bytes), Paste: a.paste})
				}
			}
		}
		return f, "", ""
	}}
}

// known says whether there is something to be said about a library.
func known(library string) bool {
	for _, a := range libraryAdvice {
		if strings.HasPrefix(library, a.prefix) {
			return true
		}
	}
	return false
}

func orZero(n *int64) *int64 {
	if n == nil {
		return new(int64)
	}
	return n
}
