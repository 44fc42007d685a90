package main

import (
	"strings"
	"testing"
)

func TestCount(t *testing.T) {
	const stream = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0.1}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:7: wrong: 3\n"}
{"Action":"fail","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestC","Output":"=== RUN   TestC\n"}
{"Action":"output","Package":"p","Test":"TestC","Output":"    c_test.go:9: no GPU: none found\n"}
{"Action":"output","Package":"p","Test":"TestC","Output":"--- SKIP: TestC (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestC"}
{"Action":"fail","Package":"p","Elapsed":1.5}
go: some plain text
{"ImportPath":"q","Action":"build-output","Output":"q.go:1: syntax error\n"}
{"ImportPath":"q","Action":"build-fail"}
{"Action":"fail","Package":"q","FailedBuild":"q"}
{"Action":"skip","Package":"r"}
{"Action":"output","Package":"s","Test":"TestHang","Output":"panic: test timed out\n"}
{"Action":"output","Package":"s","Output":"exit status 2\n"}
{"Action":"fail","Package":"s"}
`
	var out, results strings.Builder
	if err := count(strings.NewReader(stream), &out, &results); err != nil {
		t.Fatal(err)
	}
	want := "pass p TestA\nfail p TestB\nskip p TestC: no GPU: none found\nfail q (package)\nfail s TestHang (did not end)\n"
	if results.String() != want {
		t.Errorf("results:\n%s\nwant:\n%s", results.String(), want)
	}
	for _, part := range []string{"wrong: 3", "go: some plain text", "q.go:1: syntax error", "FAIL     p 1.5s", "no tests r", "panic: test timed out"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("output lacks %q:\n%s", part, out.String())
		}
	}
}

func TestCountBoundsOutput(t *testing.T) {
	line := `{"Action":"output","Package":"p","Test":"T","Output":"` + strings.Repeat("x", 1000) + `"}` + "\n"
	var out, results strings.Builder
	if err := count(strings.NewReader(strings.Repeat(line, 1000)+`{"Action":"fail","Package":"p","Test":"T"}`), &out, &results); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 2*outputKept {
		t.Errorf("kept %d bytes of one test's output", out.Len())
	}
}
