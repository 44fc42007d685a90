package abi

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// goName is the mechanical name of a C identifier without its ws_ or WS_.
func goName(c string) string {
	var b strings.Builder
	for _, part := range strings.Split(c, "_") {
		if part == "" {
			continue
		}
		b.WriteString(strings.ToUpper(part[:1]) + strings.ToLower(part[1:]))
	}
	return b.String()
}

// header is what ws_abi.h declares.
type header struct {
	constants []string            // WS_…
	structs   map[string][]string // ws_… → field names in order
}

func parseHeader(t *testing.T) header {
	t.Helper()
	text, err := os.ReadFile("../include/ws_abi.h")
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`(?s)/\*.*?\*/`).ReplaceAll(text, nil)
	h := header{structs: map[string][]string{}}
	for _, m := range regexp.MustCompile(`(?m)^#define (WS_\w+)[ \t]+\S`).FindAllSubmatch(text, -1) {
		h.constants = append(h.constants, string(m[1]))
	}
	for _, m := range regexp.MustCompile(`(?ms)^enum ws_\w+ \{(.*?)\}`).FindAllSubmatch(text, -1) {
		for _, name := range regexp.MustCompile(`WS_\w+`).FindAll(m[1], -1) {
			h.constants = append(h.constants, string(name))
		}
	}
	field := regexp.MustCompile(`(\w+)(?:\[\w+\])*\s*$`)
	for _, m := range regexp.MustCompile(`(?ms)^struct (ws_\w+) \{(.*?)\};`).FindAllSubmatch(text, -1) {
		var fields []string
		for _, declaration := range strings.Split(string(m[2]), ";") {
			for _, one := range strings.Split(declaration, ",") {
				if f := field.FindStringSubmatch(one); f != nil {
					fields = append(fields, f[1])
				}
			}
		}
		h.structs[string(m[1])] = fields
	}
	if len(h.constants) < 100 || len(h.structs) < 25 {
		t.Fatalf("read only %d constants and %d structures from ws_abi.h", len(h.constants), len(h.structs))
	}
	return h
}

// checkPackage type-checks abi.go, so that the test can ask sizes without naming every type.
func checkPackage(t *testing.T) *types.Package {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "abi.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	config := types.Config{Importer: importer.Default(), Sizes: types.SizesFor("gc", "amd64")}
	pkg, err := config.Check("abi", fset, []*ast.File{file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return pkg
}

// TestMirror compares every constant, size and offset with what the C compiler says.
func TestMirror(t *testing.T) {
	h := parseHeader(t)
	pkg := checkPackage(t)
	sizes := types.SizesFor("gc", "amd64")

	var program, want bytes.Buffer
	program.WriteString("#include <stddef.h>\n#include <stdio.h>\n#include \"ws_abi.h\"\nint main(void) {\n")
	for _, c := range h.constants {
		name := goName(strings.TrimPrefix(c, "WS_"))
		object, ok := pkg.Scope().Lookup(name).(*types.Const)
		if !ok {
			t.Errorf("%s has no constant %s: add it to defs.go and run generate.sh", c, name)
			continue
		}
		fmt.Fprintf(&program, "printf(\"%s %%llu\\n\", (unsigned long long)%s);\n", c, c)
		fmt.Fprintf(&want, "%s %s\n", c, object.Val().ExactString())
	}
	for c, fields := range h.structs {
		name := goName(strings.TrimPrefix(c, "ws_"))
		object, ok := pkg.Scope().Lookup(name).(*types.TypeName)
		if !ok {
			t.Errorf("struct %s has no type %s: add it to defs.go and run generate.sh", c, name)
			continue
		}
		layout := object.Type().Underlying().(*types.Struct)
		if layout.NumFields() != len(fields) {
			t.Errorf("struct %s has %d fields, %s has %d", c, len(fields), name, layout.NumFields())
			continue
		}
		var goFields []*types.Var
		for f := range layout.Fields() {
			goFields = append(goFields, f)
		}
		offsets := sizes.Offsetsof(goFields)
		fmt.Fprintf(&program, "printf(\"%s %%zu\\n\", sizeof(struct %s));\n", c, c)
		fmt.Fprintf(&want, "%s %d\n", c, sizes.Sizeof(layout))
		for i, f := range fields {
			fmt.Fprintf(&program, "printf(\"%s.%s %%zu %%zu\\n\", offsetof(struct %s, %s), sizeof(((struct %s *)0)->%s));\n", c, f, c, f, c, f)
			fmt.Fprintf(&want, "%s.%s %d %d\n", c, f, offsets[i], sizes.Sizeof(goFields[i].Type()))
		}
	}
	program.WriteString("return 0;\n}\n")

	dir := t.TempDir()
	source, binary := filepath.Join(dir, "layout.c"), filepath.Join(dir, "layout")
	if err := os.WriteFile(source, program.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-std=c11", "-I../include", "-o", binary, source).CombinedOutput(); err != nil {
		t.Fatalf("compile the layout program: %v\n%s", err, out)
	}
	got, err := exec.Command(binary).Output()
	if err != nil {
		t.Fatal(err)
	}
	gotLines, wantLines := strings.Split(string(got), "\n"), strings.Split(want.String(), "\n")
	if len(gotLines) != len(wantLines) {
		t.Fatalf("C prints %d lines, Go has %d", len(gotLines), len(wantLines))
	}
	for i := range gotLines {
		if gotLines[i] != wantLines[i] {
			t.Errorf("C: %s, Go: %s", gotLines[i], wantLines[i])
		}
	}
}
