package config

import (
	"io"
	"os"
	"strings"
	"unicode"

	"github.com/alecthomas/kong"
)

// keyRequirepass is a key of the file that is no flag: a secret does not belong on a command line.
const keyRequirepass = "requirepass"

// fileBytesMax bounds a configuration file.
const fileBytesMax = 1 << 20

// file is a configuration file as a kong resolver.
type file struct {
	values map[string]string // by flag name
}

// Validate is part of kong.Resolver; the keys were checked when the file was read.
func (f *file) Validate(*kong.Application) error { return nil }

// Resolve answers nil, "not set here", for what the environment has set: it comes before a file.
func (f *file) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range flag.Tag.Envs {
		if _, set := os.LookupEnv(name); set {
			return nil, nil
		}
	}
	if value, found := f.values[flag.Name]; found {
		return value, nil
	}
	return nil, nil
}

func readFile(path string, flags []*kong.Flag) (*file, error) {
	content, err := readBounded(path, fileBytesMax)
	if err != nil {
		return nil, invalid("--config: %v", err)
	}
	known := []string{keyRequirepass}
	for _, flag := range flags {
		if flag.Name != "config" && flag.Name != "help" {
			known = append(known, flag.Name)
		}
	}
	return parseFile(path, content, known)
}

func parseFile(path, content string, known []string) (*file, error) {
	f := &file{values: map[string]string{}}
	for i, line := range strings.Split(content, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, rest := cutBlank(line)
		value, err := unquote(rest)
		if err != nil {
			return nil, invalid("%s:%d: %s: %v", path, i+1, key, err)
		}
		if !contains(known, key) {
			return nil, invalid("%s:%d: unknown setting %q%s", path, i+1, key, didYouMean(key, known))
		}
		if _, twice := f.values[key]; twice {
			return nil, invalid("%s:%d: %s is set twice in this file", path, i+1, key)
		}
		f.values[key] = value
	}
	return f, nil
}

func cutBlank(line string) (key, rest string) {
	if i := strings.IndexFunc(line, unicode.IsSpace); i >= 0 {
		return line[:i], strings.TrimSpace(line[i:])
	}
	return line, ""
}

type textError string

func (e textError) Error() string { return string(e) }

// unquote accepts a bare value or one in double quotes, as redis.conf does.
func unquote(text string) (string, error) {
	switch {
	case text == "":
		return "", textError("no value; write \"\" for an empty one")
	case text[0] != '"':
		return text, nil
	case len(text) < 2 || text[len(text)-1] != '"' || strings.Contains(text[1:len(text)-1], `"`):
		return "", textError("the quotes are not closed")
	}
	return text[1 : len(text)-1], nil
}

func contains(list []string, s string) bool {
	for _, item := range list {
		if item == s {
			return true
		}
	}
	return false
}

// didYouMean proposes the closest known key, when one is close.
func didYouMean(key string, known []string) string {
	best, bestDistance := "", 1+len(key)/3
	for _, candidate := range known {
		if d := distance(strings.ToLower(key), candidate); d <= bestDistance {
			best, bestDistance = candidate, d-1
		}
	}
	if best == "" {
		return "; see kelek serve --help"
	}
	return "; did you mean " + best + "?"
}

// distance is Levenshtein's: insertions, deletions and changes of one byte.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := diagonal
			if a[i-1] != b[j-1] {
				change++
			}
			diagonal = row[j]
			row[j] = min(row[j]+1, row[j-1]+1, change)
		}
	}
	return row[len(b)]
}

func readBounded(path string, bytesMax int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() // only read
	content, err := io.ReadAll(io.LimitReader(f, bytesMax+1))
	if err != nil {
		return "", err
	}
	if int64(len(content)) > bytesMax {
		return "", textError(path + " is larger than " + Bytes(bytesMax).String())
	}
	return string(content), nil
}
