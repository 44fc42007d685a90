package session

import (
	"fmt"
	"os"
	"testing"
)

// helperVariable makes the test binary one of the processes that a test needs.
const helperVariable = "WARPSCOPE_TEST_HELPER"

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
		os.Exit(m.Run())
	}
	if err := helpers[name](); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
