package session

import (
	"slices"
	"strings"
	"testing"
)

const testLibrary = "/home/u/.cache/warpscope/0123/libwarpscope.so"

func TestCaptureEnviron(t *testing.T) {
	for _, c := range []struct {
		name    string
		environ []string
		want    []string // sorted
		notes   int
	}{
		{
			name:    "plain",
			environ: []string{"HOME=/home/u"},
			want: []string{
				"CUDA_INJECTION64_PATH=" + testLibrary, "HOME=/home/u", "LD_PRELOAD=" + testLibrary,
				"NVTX_INJECTION64_PATH=" + testLibrary, "WARPSCOPE_SOCKET=/run/s",
			},
		},
		{
			name:    "behind the user's own preloads",
			environ: []string{"LD_PRELOAD=libjemalloc.so /opt/a.so"},
			want: []string{
				"CUDA_INJECTION64_PATH=" + testLibrary, "LD_PRELOAD=libjemalloc.so:/opt/a.so:" + testLibrary,
				"NVTX_INJECTION64_PATH=" + testLibrary, "WARPSCOPE_SOCKET=/run/s",
			},
		},
		{
			name: "a run inside a run, by another version",
			environ: []string{
				"LD_PRELOAD=/old/libwarpscope.so:/opt/a.so", "CUDA_INJECTION64_PATH=/old/libwarpscope.so",
				"NVTX_INJECTION64_PATH=/old/libwarpscope.so", "WARPSCOPE_SOCKET=/run/outer",
			},
			want: []string{
				"CUDA_INJECTION64_PATH=" + testLibrary, "LD_PRELOAD=/opt/a.so:" + testLibrary,
				"NVTX_INJECTION64_PATH=" + testLibrary, "WARPSCOPE_SOCKET=/run/s",
			},
		},
		{
			name:    "somebody else's NVTX",
			environ: []string{"NVTX_INJECTION64_PATH=/opt/nsight/libToolsInjection64.so"},
			want: []string{
				"CUDA_INJECTION64_PATH=" + testLibrary, "LD_PRELOAD=" + testLibrary,
				"NVTX_INJECTION64_PATH=/opt/nsight/libToolsInjection64.so", "WARPSCOPE_SOCKET=/run/s",
			},
			notes: 1,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := slices.Clone(c.environ)
			got, notes := captureEnviron(c.environ, testLibrary, "/run/s")
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("environment\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			if len(notes) != c.notes {
				t.Errorf("notes %q, want %d", notes, c.notes)
			}
			if !slices.Equal(before, c.environ) {
				t.Errorf("the caller's environment was changed to %q", c.environ)
			}
		})
	}
}

func TestForeignInjection(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{"", ""},
		{"/x/libwarpscope.so", ""},
		{"/opt/nsight/libToolsInjection64.so", "/opt/nsight/libToolsInjection64.so"},
	} {
		if got := foreignInjection([]string{"CUDA_INJECTION64_PATH=" + c.value}); got != c.want {
			t.Errorf("%q: %q, want %q", c.value, got, c.want)
		}
	}
	if got := foreignInjection(nil); got != "" {
		t.Errorf("no variable: %q", got)
	}
}
