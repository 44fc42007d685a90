package session

import (
	"fmt"
	"os"
	"testing"
)

// helperVariable makes the test binary one of the processes that a test needs.
const helperVariable = "WARPSCOPE_TEST_HELPER"

// scratchVariable names a directory for what all tests share.
const scratchVariable = "WARPSCOPE_TEST_SCRATCH"

func TestMain(m *testing.M) {
	helpers := map[string]func() error{
		"extract": extractHelper,
		"agent":   agentHelper,
		"client":  clientHelper,
		"counter": counterHelper,
		"shell":   shellHelper,
	}
	name := os.Getenv(helperVariable)
	if name == "" {
		os.Exit(test(m))
	}
	if err := helpers[name](); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func test(m *testing.M) int {
	scratch, err := os.MkdirTemp("", "session-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(scratch)
	if err := os.Setenv(scratchVariable, scratch); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
