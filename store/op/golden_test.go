package op

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/golden anew; then read the diff")

// golden is one value of each record, and of each op with every field set that it has. Its bytes are
// in testdata/golden: a changed file is a changed format and needs a new version.
func golden() map[string][]byte {
	key, value := []byte("key"), []byte("value")
	put := Op{Code: CodePut, Key: key, Value: value}
	add := Op{Code: CodeAdd, Key: key, Delta: 1}
	ops := map[string]Op{
		"put": put,
		"put-all": {Code: CodePut, DB: 15, Cond: IfEqual, TTL: TTLAt, Return: true,
			Time: 1_700_000_000_000, Key: key, Value: value, Match: []byte("old")},
		"put-absent-after": {Code: CodePut, DB: 1, Cond: IfAbsent, TTL: TTLAfter, Time: 100,
			Key: key, Value: bytes.Repeat([]byte("v"), 130)},
		"put-exists-keep": {Code: CodePut, Cond: IfExists, TTL: TTLKeep, Key: key},
		"delete":          {Code: CodeDelete, DB: 2, Args: [][]byte{key, {}, value}},
		"take":            {Code: CodeTake, DB: 3, Key: key},
		"expire":          {Code: CodeExpire, DB: 4, Cond: IfExistsSooner, TTL: TTLAfter, Time: -1, Key: key},
		"persist":         {Code: CodePersist, DB: 5, Key: key},
		"add":             {Code: CodeAdd, DB: 6, Key: key, Delta: -300},
		"append":          {Code: CodeAppend, DB: 7, Key: key, Value: value},
		"put-many":        {Code: CodePutMany, DB: 8, Args: [][]byte{key, value, {}, {}}},
		"flush":           {Code: CodeFlush, DB: 9},
		"flush-all":       {Code: CodeFlush, DB: AllDatabases},
		"purge":           {Code: CodePurge, Delta: 1000},
		"once":            {Code: CodeOnce, Client: []byte("client"), Request: 300, Inner: put.Append(nil)},
		"copy":            {Code: CodeCopy, DB: 1, Key: key, ToDB: 15, To: []byte("to")},
		"copy-move":       {Code: CodeCopy, Cond: IfAbsent, Move: true, Key: key, To: []byte("to")},
		"set-range":       {Code: CodeSetRange, DB: 2, Key: key, Delta: 300, Value: value},
		"getex":           {Code: CodeGetEx, DB: 3, TTL: TTLAfter, Time: 100, Key: key},
		"getex-off":       {Code: CodeGetEx, Key: key},
		"put-new":         {Code: CodePutNew, DB: 4, Args: [][]byte{key, value}},
		"add-float":       {Code: CodeAddFloat, DB: 5, Key: key, Value: []byte("1.5e2")},
		"multi": {Code: CodeMulti, Count: 2, Inner: add.Append(put.Append(nil)),
			Watched: []Watched{{DB: 15, Key: key, Version: 300}, {Key: []byte{}}}},
		"member": {Code: CodeMember, Member: Member{ID: 0x0102030405060708, Name: "n1",
			PeerAddr: "10.0.0.1:7380", Addr: "10.0.0.1:6380", ClusterAddr: "10.0.0.1:9380",
			Version: "v0.1.0", Standing: true}},
	}
	all := make(map[string][]byte)
	for name, o := range ops {
		all["op-"+name+"-v1"] = o.Append(nil)
	}
	all["proposal-v1"] = AppendProposal(nil, &Proposal{Origin: 0x1112131415161718, Boot: 5, Seq: 300,
		Count: 1, Ops: put.Append(nil)})
	for name, r := range map[string]Result{
		"ok": {Kind: ResultOK}, "nil": {Kind: ResultNil}, "int": {Kind: ResultInt, Int: -300},
		"bytes": {Kind: ResultBytes, Bytes: value}, "error": {Kind: ResultError, Error: ErrOverflow},
	} {
		all["result-"+name+"-v1"] = AppendResult(nil, &r)
	}
	return all
}

func TestGoldenBytes(t *testing.T) {
	for name, got := range golden() {
		path := filepath.Join("testdata", "golden", name+".hex")
		if *rewrite {
			if err := os.WriteFile(path, []byte(hex.Dump(got)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if hex.Dump(got) != string(want) {
			t.Errorf("%s: the format changed\ngot\n%swant\n%s", name, hex.Dump(got), want)
		}
	}
}

// Every golden file decodes, and encodes to itself.
func TestGoldenFilesDecode(t *testing.T) {
	paths, err := filepath.Glob("testdata/golden/*.hex")
	if err != nil || len(paths) != len(golden()) {
		t.Fatalf("%d golden files, %d values, %v", len(paths), len(golden()), err)
	}
	for _, path := range paths {
		dump, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b := undump(t, string(dump))
		again, err := recode(filepath.Base(path), b)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: %v\ngot\n%swant\n%s", path, err, hex.Dump(again), dump)
		}
	}
}

// recode decodes b as what its file name says, and encodes it again.
func recode(name string, b []byte) ([]byte, error) {
	record, _, _ := strings.Cut(name, "-")
	switch record {
	case "proposal":
		var p Proposal
		err := DecodeProposal(b, &p)
		return AppendProposal(nil, &p), err
	case "result":
		var r Result
		_, err := DecodeResult(b, &r)
		return AppendResult(nil, &r), err
	}
	var o Op
	if _, err := Decode(b, &o); err != nil {
		return nil, err
	}
	return o.Append(nil), nil
}

// undump is the inverse of hex.Dump.
func undump(t *testing.T, dump string) (b []byte) {
	for _, line := range strings.Split(strings.TrimSpace(dump), "\n") {
		columns, _, _ := strings.Cut(line, "|")
		part, err := hex.DecodeString(strings.Join(strings.Fields(columns)[1:], ""))
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, part...)
	}
	return b
}
