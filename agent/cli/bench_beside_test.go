package cli

import (
	"strings"
	"testing"
)

func TestBenchRefusesMistakesAboutWhatIsBeside(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--reference-path", "/opt"}, "--reference, which was not given"},
		{[]string{"--trace", "-"}, "name the trace file"},
		{[]string{"--trace", ""}, "name the trace file"},
		{[]string{"--force"}, "--trace, which was not given"},
		{[]string{"--sample", "--reference"}, "--sample measures nothing"},
		{[]string{"--sample", "--trace", "t.wscope"}, "--sample measures nothing"},
	} {
		status, stdout, stderr := command(t, "", append([]string{"bench"}, c.args...)...)
		if status != statusUsage || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("bench %v: status %d, stdout %q, stderr %q", c.args, status, stdout, stderr)
		}
	}
}
