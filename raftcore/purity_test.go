package raftcore

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

// allowedImports is all that the pure packages may use (design.md 4).
var allowedImports = []string{"errors", "fmt", "slices", "cmp", "math/bits", "strings"}

// TestTheCoreIsPure parses the package and looks for what must be absent: anything that could make
// two runs with the same inputs differ.
func TestTheCoreIsPure(t *testing.T) {
	files := parseCore(t)
	if len(files) < 15 {
		t.Fatalf("only %d files were parsed", len(files))
	}
	for name, file := range files {
		for _, problem := range impurities(file) {
			t.Errorf("%s: %s", name, problem)
		}
	}
}

// TestThePurityCheckFindsImpurities keeps the check itself honest.
func TestThePurityCheckFindsImpurities(t *testing.T) {
	for _, source := range []string{
		`import "time"`, `import "math/rand"`, `func f() { go f() }`, `var c chan int`,
		`func f() { select {} }`, `var m map[int]int`, `var x = 1.5`, `var x float64`,
		`func init() {}`, `func f() { print("%p") }`, `import "sync"`,
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\n"+source, 0)
		if err != nil {
			t.Fatal(source, err)
		}
		if len(impurities(file)) == 0 {
			t.Errorf("not found: %s", source)
		}
	}
}

func parseCore(t *testing.T) map[string]*ast.File {
	packages, err := parser.ParseDir(token.NewFileSet(), ".", func(f fs.FileInfo) bool {
		return !strings.HasSuffix(f.Name(), "_test.go")
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return packages["raftcore"].Files
}

func impurities(file *ast.File) (problems []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			if !slices.Contains(allowedImports, strings.Trim(n.Path.Value, `"`)) {
				problems = append(problems, "imports "+n.Path.Value)
			}
		case *ast.GoStmt:
			problems = append(problems, "starts a goroutine")
		case *ast.SelectStmt, *ast.ChanType, *ast.SendStmt:
			problems = append(problems, "uses a channel")
		case *ast.MapType:
			problems = append(problems, "uses a map")
		case *ast.Ident:
			if n.Name == "float32" || n.Name == "float64" {
				problems = append(problems, "uses floating point")
			}
		case *ast.BasicLit:
			if n.Kind == token.FLOAT || n.Kind == token.STRING && strings.Contains(n.Value, "%p") {
				problems = append(problems, "has the literal "+n.Value)
			}
		case *ast.FuncDecl:
			if n.Name.Name == "init" && n.Recv == nil {
				problems = append(problems, "has an init function")
			}
		}
		return true
	})
	return problems
}
