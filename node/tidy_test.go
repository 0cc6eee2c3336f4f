package node

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// allowed says what each package may import: of this module, and of others. The direction is
//
//	main -> resp -> (Backend) <- node -> raftcore, node -> (Storage) <- store -> raftcore
//
// so that resp and node, and node and store, know each other by interfaces only.
var allowed = map[string]struct{ ours, others string }{
	".": {"bench node node/config node/daemon resp/client", "github.com/alecthomas/kong"},
	"resp": {"resp/client resp/command store/op raftcore",
		"github.com/tidwall/redcon github.com/rs/zerolog golang.org/x/sys"},
	"resp/command":  {"store/op", ""},
	"resp/client":   {"", ""},
	"resp/resptest": {"store/op", ""},
	"bench":         {"bench/ceiling bench/load bench/mesh resp/client", "github.com/anishathalye/porcupine"},
	"bench/mesh":    {"", "golang.org/x/sys"},
	"bench/load":    {"", "github.com/HdrHistogram/hdrhistogram-go golang.org/x/sys"},
	// What a machine allows at most is shown by the libraries alone, without anything of ours.
	"bench/ceiling":  {"", "github.com/tidwall/redcon github.com/cockroachdb/pebble/v2"},
	"node":           {"raftcore raftcore/wire store/op", "github.com/rs/zerolog golang.org/x/sys"},
	"node/transport": {"raftcore raftcore/wire store/op", ""},
	"node/sim":       {"", ""}, // tests only
	"node/admin":     {"store/op", "github.com/prometheus/client_golang"},
	"node/config":    {"", "github.com/alecthomas/kong"},
	"node/daemon": {"node node/admin node/config node/transport raftcore raftcore/wire resp " +
		"resp/client resp/command store store/op", "github.com/rs/zerolog golang.org/x/sys"},
	"store": {"raftcore raftcore/wire store/op",
		"github.com/cockroachdb/pebble/v2 github.com/rs/zerolog github.com/cespare/xxhash/v2"},
	"store/op":             {"", "github.com/cespare/xxhash/v2"},
	"raftcore":             {"", ""},
	"raftcore/wire":        {"raftcore", ""},
	"raftcore/sim":         {"raftcore raftcore/wire", ""},
	"raftcore/sim/explore": {"raftcore", ""},
}

// pure packages decide and do nothing: same input, same output. They use none of these.
var pure = []string{"resp/command", "store/op", "raftcore", "raftcore/wire"}

var impureImports = []string{"net", "os", "io/fs", "time", "sync", "context", "math/rand",
	"math/rand/v2", "crypto/rand", "syscall", "runtime"}

// TestImports holds the direction of dependencies.
func TestImports(t *testing.T) {
	files := 0
	eachFile(t, func(dir, name string, file *ast.File) {
		files++
		rule, known := allowed[dir]
		if !known {
			t.Errorf("%s: package %s has no rule here", name, dir)
			return
		}
		for _, spec := range file.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			if why := forbidden(dir, path, rule.ours, rule.others); why != "" {
				t.Errorf("%s imports %s: %s", name, path, why)
			}
		}
	})
	if files < 100 {
		t.Fatalf("only %d files were looked at", files)
	}
}

func forbidden(dir, path, ours, others string) string {
	switch {
	case strings.HasPrefix(path, "kelek/"):
		if !slices.Contains(strings.Fields(ours), strings.TrimPrefix(path, "kelek/")) {
			return "against the direction of dependencies"
		}
	case strings.Contains(strings.Split(path, "/")[0], "."):
		for _, allowed := range strings.Fields(others) {
			if path == allowed || strings.HasPrefix(path, allowed+"/") {
				return ""
			}
		}
		return "this package does without that library"
	case slices.Contains(pure, dir) && slices.Contains(impureImports, path):
		return "a pure package has no clock, lock, randomness or I/O"
	}
	return ""
}

func TestForbiddenImportsAreFound(t *testing.T) {
	for _, c := range []struct{ dir, path string }{
		{"resp", "kelek/node"}, {"node", "kelek/store"}, {"node", "kelek/resp"},
		{"store", "kelek/node"}, {"resp/command", "time"}, {"bench", "kelek/raftcore"},
		{"node", "github.com/cockroachdb/pebble/v2"}, {".", "github.com/tidwall/redcon"},
	} {
		if rule := allowed[c.dir]; forbidden(c.dir, c.path, rule.ours, rule.others) == "" {
			t.Errorf("%s may import %s", c.dir, c.path)
		}
	}
}

// TestNoInitAndNoDebt looks for what reviews should not have to.
func TestNoInitAndNoDebt(t *testing.T) {
	eachFile(t, func(dir, name string, file *ast.File) {
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == "init" && f.Recv == nil {
				t.Errorf("%s has an init function", name)
			}
		}
		for _, group := range file.Comments {
			for _, word := range []string{"TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"} {
				if strings.Contains(group.Text(), word) {
					t.Errorf("%s: a comment says %s", name, word)
				}
			}
		}
	})
}

// eachFile parses every file of the module that is not a test.
func eachFile(t *testing.T, look func(dir, name string, file *ast.File)) {
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != ".." && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		name, err := filepath.Rel("..", path)
		look(filepath.ToSlash(filepath.Dir(name)), name, file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
