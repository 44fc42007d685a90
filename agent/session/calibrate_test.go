package session

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil { //nolint:gosec // it is to be executed
		t.Fatal(err)
	}
	return path
}

func TestCalibrationIsMeasuredByAnotherProcess(t *testing.T) {
	c, err := calibrateIn(script(t, `test "$1 $2" = "calibrate GPU-1" && test "$MARK" = yes && echo '{"uuid":"GPU-1","context_bytes":5,"kernels_bytes":3,"unowned_bytes":-1}'`),
		"GPU-1", []string{"MARK=yes", "PATH=/bin:/usr/bin"})
	if err != nil || *c != (Calibration{UUID: "GPU-1", Context: 5, Kernels: 3, Unowned: -1}) {
		t.Errorf("%+v, %v", c, err)
	}
	for text, want := range map[string]string{
		"echo warpscope: there is no usable GPU >&2; exit 1": "there is no usable GPU",
		"echo nonsense": "read what was measured",
		"exit 3":        "exit status 3",
	} {
		if c, err := calibrateIn(script(t, text), "", []string{"PATH=/bin:/usr/bin"}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %+v, %v", text, c, err)
		}
	}
}

func TestKeptCalibrationsAreOnesOwn(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "context-1.json")
	if readCalibration(path) != nil {
		t.Error("there is none yet")
	}
	if err := writeWhole(path, []byte(`{"uuid":"GPU-1","context_bytes":7}`)); err != nil {
		t.Fatal(err)
	}
	if c := readCalibration(path); c == nil || c.Context != 7 {
		t.Errorf("%+v", c)
	}
	if entries, _ := os.ReadDir(folder); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	for name, text := range map[string]string{"empty": "", "text": "nonsense", "zero": `{"context_bytes":0}`, "large": strings.Repeat(" ", 1<<17) + `{"context_bytes":7}`} {
		bad := filepath.Join(folder, name)
		if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if c := readCalibration(bad); c != nil {
			t.Errorf("%s: %+v", name, c)
		}
	}
	link := filepath.Join(folder, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if c := readCalibration(link); c != nil {
		t.Errorf("through a link: %+v", c)
	}
	if err := writeWhole(filepath.Join(folder, "none", "x"), nil); err == nil {
		t.Error("written into a folder that is not there")
	}
}

func TestEnvironmentWithoutAVariable(t *testing.T) {
	got := without([]string{"A=1", "LD_PRELOAD=x", "B=2", "LD_PRELOAD=y"}, "LD_PRELOAD")
	if strings.Join(got, " ") != "A=1 B=2" {
		t.Errorf("%q", got)
	}
}
