package op

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
)

// randomOp makes a valid op of any kind.
func randomOp(r *rand.Rand) Op {
	o := Op{Code: Code(1 + r.IntN(int(CodeAddFloat))), Args: [][]byte{}, Watched: []Watched{}}
	switch o.Code {
	case CodePut:
		o.DB, o.Key, o.Value = randomDB(r), randomBytes(r), randomBytes(r)
		o.Cond, o.TTL, o.Return = Cond(r.IntN(int(IfEqual)+1)), TTL(r.IntN(4)), r.IntN(2) == 0
		if o.Cond == IfEqual {
			o.Match = randomBytes(r)
		}
	case CodeDelete, CodePutMany, CodePutNew:
		o.DB = randomDB(r)
		for range (1 + r.IntN(4)) * o.argsPer() {
			o.Args = append(o.Args, randomBytes(r))
		}
	case CodeTake, CodePersist, CodeAdd, CodeAppend, CodeSetRange, CodeAddFloat:
		o.DB, o.Key = randomDB(r), randomBytes(r)
		if o.Code >= CodeAppend {
			o.Value = randomBytes(r)
		}
	case CodeExpire:
		o.DB, o.Key, o.TTL = randomDB(r), randomBytes(r), TTL(2+r.IntN(2))
		o.Cond = []Cond{Always, IfAbsent, IfExists, IfLater, IfSooner, IfExistsLater,
			IfExistsSooner}[r.IntN(7)]
	case CodeGetEx:
		o.DB, o.Key = randomDB(r), randomBytes(r)
		o.TTL = []TTL{TTLClear, TTLAfter, TTLAt}[r.IntN(3)]
	case CodeCopy:
		o.DB, o.Key, o.ToDB, o.To = randomDB(r), randomBytes(r), randomDB(r), randomBytes(r)
		o.Cond, o.Move = Cond(r.IntN(2)), r.IntN(2) == 0
	case CodeFlush:
		o.DB = []byte{randomDB(r), AllDatabases}[r.IntN(2)]
	case CodeOnce:
		inner := Op{Code: CodeTake, DB: randomDB(r), Key: randomBytes(r)}
		o.Client, o.Request, o.Inner = randomBytes(r), 1+r.Uint64N(1<<40), inner.Append(nil)
	case CodeMember:
		o.Member = Member{1 + r.Uint64N(1<<60), randomString(r), randomString(r), randomString(r),
			randomString(r), randomString(r), r.IntN(2) == 1}
	case CodeMulti:
		o.Count = uint32(1 + r.IntN(4))
		for range o.Count {
			inner := Op{Code: CodeTake, DB: randomDB(r), Key: randomBytes(r)}
			o.Inner = inner.Append(o.Inner)
		}
		for range r.IntN(3) {
			o.Watched = append(o.Watched, Watched{randomDB(r), randomBytes(r), r.Uint64()})
		}
	}
	if o.TTL >= TTLAfter {
		o.Time = randomInt(r)
	}
	if o.Code == CodeAdd {
		o.Delta = randomInt(r)
	}
	if o.Code == CodePurge || o.Code == CodeSetRange {
		o.Delta = 1 + r.Int64N(1<<20)
	}
	return o
}

func randomDB(r *rand.Rand) uint8 { return uint8(r.IntN(Databases)) }

func randomBytes(r *rand.Rand) []byte {
	b := make([]byte, []int{0, 1, 7, 127, 128, 300}[r.IntN(6)])
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func randomString(r *rand.Rand) string { return string(randomBytes(r)) }

func randomInt(r *rand.Rand) int64 {
	return []int64{0, -1, math.MinInt64, math.MaxInt64, r.Int64()}[r.IntN(5)]
}

// Whatever is appended comes back, whole batches of it, with one Op used again and again; and no
// prefix of it decodes to the same thing.
func TestOpsComeBackAsTheyWere(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	got := Op{Args: [][]byte{}, Watched: []Watched{}}
	for range 300 {
		var ops []Op
		var b []byte
		for range 1 + r.IntN(5) {
			ops = append(ops, randomOp(r))
			b = ops[len(ops)-1].Append(b)
		}
		rest := b
		for i := range ops {
			before := rest
			var err error
			if rest, err = Decode(rest, &got); err != nil {
				t.Fatalf("%+v: %v", ops[i], err)
			}
			if !reflect.DeepEqual(got, ops[i]) {
				t.Fatalf("appended %+v, decoded %+v", ops[i], got)
			}
			for cut := range len(before) - len(rest) {
				if _, err := Decode(before[:cut], &got); !errors.Is(err, ErrMalformed) {
					t.Fatalf("%d bytes of %+v: %v", cut, ops[i], err)
				}
			}
		}
		if len(rest) != 0 {
			t.Fatalf("%d bytes left", len(rest))
		}
	}
}

func TestUnknownNumbersAreNamed(t *testing.T) {
	for _, code := range []Code{0, CodeAddFloat + 1, 255} {
		_, err := Decode([]byte{byte(code), 1, 2, 3}, new(Op))
		var unknown UnknownCodeError
		if !errors.As(err, &unknown) || unknown.Code != code {
			t.Errorf("code %d: %v", code, err)
		}
	}
	b := AppendProposal(nil, &Proposal{Origin: 1, Seq: 1, Count: 1, Ops: []byte{9, 0}})
	b[0] = 2
	var unknown UnknownVersionError
	if err := DecodeProposal(b, new(Proposal)); !errors.As(err, &unknown) || unknown.Version != 2 {
		t.Errorf("version 2: %v", err)
	}
}

func TestFieldsOutOfRangeAreRefused(t *testing.T) {
	flush := Op{Code: CodeFlush}
	once := Op{Code: CodeOnce, Request: 1, Inner: flush.Append(nil)}
	nested := Op{Code: CodeOnce, Request: 1, Inner: once.Append(nil)}
	cases := map[string][]byte{
		"put into database 16":      {byte(CodePut), 16, 0, 0, 0},
		"put with an expire's cond": {byte(CodePut), 0, byte(IfLater), 0, 0},
		"put with an unknown flag":  {byte(CodePut), 0, 1 << 6, 0, 0},
		"expire without a time":     {byte(CodeExpire), 0, byte(TTLKeep) << ttlShift, 0},
		"expire if equal":           {byte(CodeExpire), 0, byte(TTLAt)<<ttlShift | byte(IfEqual), 0, 0},
		"expire that returns":       {byte(CodeExpire), 0, byte(TTLAt)<<ttlShift | flagReturn, 0, 0},
		"delete of nothing":         {byte(CodeDelete), 0, 0},
		"a count beyond the input":  {byte(CodeDelete), 0, 0xff, 0xff, 0xff, 0x7f, 0},
		"a count that wraps": append([]byte{byte(CodePutMany), 0},
			128, 128, 128, 128, 128, 128, 128, 128, 128, 1),
		"a length beyond the input": {byte(CodeTake), 0, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"flush of database 16":      {byte(CodeFlush), 16},
		"purge of nothing":          {byte(CodePurge), 0},
		"once inside once":          nested.Append(nil),
		"a transaction inside once": {byte(CodeOnce), 0, 1, 7, byte(CodeMulti), 0, 1, 2, 9, 0, 0},
		"a getex that keeps":        {byte(CodeGetEx), 0, byte(TTLKeep) << ttlShift, 0},
		"a conditional getex":       {byte(CodeGetEx), 0, byte(IfAbsent), 0},
		"a copy if it exists":       {byte(CodeCopy), 0, byte(IfExists), 0, 0, 0},
		"a copy with a deadline":    {byte(CodeCopy), 0, byte(TTLAt) << ttlShift, 0, 0, 0},
		"a copy to database 16":     {byte(CodeCopy), 0, 0, 0, 16, 0},
		"a range that begins at -1": {byte(CodeSetRange), 0, 0, 1, 0},
		"half a pair":               {byte(CodePutNew), 0, 1, 0},
		"a transaction of nothing":  {byte(CodeMulti), 0, 0, 0},
		"more ops than fit":         {byte(CodeMulti), 0, 2, 2, byte(CodeFlush), 0},
		"a transaction inside one":  {byte(CodeMulti), 0, 1, 6, byte(CodeMulti), 0, 1, 2, 9, 0},
		"a purge inside one":        {byte(CodeMulti), 0, 1, 2, byte(CodePurge), 1},
		"watching database 16":      {byte(CodeMulti), 1, 16, 0, 0, 1, 2, byte(CodeFlush), 0},
		"watching more than fits":   {byte(CodeMulti), 0xff, 0xff, 0x7f, 0, 0, 0, 1, 2, 9, 0},
		"once with request 0":       {byte(CodeOnce), 0, 0, 2, byte(CodeFlush), 0},
		"once without an op":        {byte(CodeOnce), 0, 1, 0},
		"a member without an id":    {byte(CodeMember), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"a varint of eleven bytes": append([]byte{byte(CodeTake), 0},
			128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 1),
		"nothing":                    {},
		"a code and nothing further": {byte(CodeAdd)},
	}
	for name, b := range cases {
		if _, err := Decode(b, new(Op)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProposalHeader(t *testing.T) {
	flush := Op{Code: CodeFlush}
	want := Proposal{Origin: 0xfeed, Boot: 300, Seq: 1 << 40, Count: 1, Ops: flush.Append(nil)}
	b := AppendProposal(nil, &want)
	var got Proposal
	if err := DecodeProposal(b, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
	for cut := range b {
		if err := DecodeProposal(b[:cut], &got); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes: %v", cut, err)
		}
	}
	for name, p := range map[string]Proposal{
		"no origin":          {Seq: 1, Count: 1, Ops: want.Ops},
		"no seq":             {Origin: 1, Count: 1, Ops: want.Ops},
		"no ops":             {Origin: 1, Seq: 1, Ops: want.Ops},
		"more ops than fit":  {Origin: 1, Seq: 1, Count: 2, Ops: want.Ops},
		"far more than that": {Origin: 1, Seq: 1, Count: math.MaxUint32, Ops: want.Ops},
	} {
		if err := DecodeProposal(AppendProposal(nil, &p), &got); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestResultsComeBackAsTheyWere(t *testing.T) {
	for _, want := range []Result{
		{Kind: ResultOK}, {Kind: ResultNil}, {Kind: ResultInt, Int: math.MinInt64},
		{Kind: ResultBytes, Bytes: []byte{}}, {Kind: ResultBytes, Bytes: bytes.Repeat([]byte{7}, 200)},
		{Kind: ResultError, Error: ErrNotFinite},
	} {
		b := AppendResult(nil, &want)
		var got Result
		rest, err := DecodeResult(append(b, 42), &got)
		if err != nil || !reflect.DeepEqual(got, want) || !bytes.Equal(rest, []byte{42}) {
			t.Errorf("%+v came back as %+v, %v, %v", want, got, rest, err)
		}
		for cut := range b {
			if _, err := DecodeResult(b[:cut], &got); !errors.Is(err, ErrMalformed) {
				t.Errorf("%d bytes of %+v: %v", cut, want, err)
			}
		}
	}
	for _, b := range [][]byte{{0}, {6}, {byte(ResultError), 0}, {byte(ResultError), 200}} {
		if _, err := DecodeResult(b, new(Result)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%v: %v", b, err)
		}
	}
}

func TestAppendPanicsRatherThanWriteNonsense(t *testing.T) {
	for _, o := range []Op{{}, {Code: CodeAddFloat + 1}, {Code: CodeDelete}, {Code: CodeMulti},
		{Code: CodePutMany, Args: [][]byte{nil}}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v was encoded", o)
				}
			}()
			o.Append(nil)
		}()
	}
}

func TestDecodingAllocatesNothing(t *testing.T) {
	put := Op{Code: CodePut, Key: []byte("key"), Value: make([]byte, 64)}
	del := Op{Code: CodeDelete, Args: [][]byte{[]byte("a"), []byte("b"), []byte("c")}}
	b := del.Append(put.Append(nil))
	var o Op
	if n := testing.AllocsPerRun(100, func() {
		for rest := b; len(rest) > 0; {
			rest, _ = Decode(rest, &o)
		}
	}); n != 0 {
		t.Errorf("%v allocations for two ops", n)
	}
}

// What a decoder accepts, it accepts again after being encoded, and it never panics.
func FuzzDecode(f *testing.F) {
	for _, b := range golden() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var o, again Op
		if _, err := Decode(b, &o); err == nil {
			if _, err := Decode(o.Append(nil), &again); err != nil || !reflect.DeepEqual(o, again) {
				t.Errorf("%+v came back as %+v, %v", o, again, err)
			}
		}
		var p Proposal
		if DecodeProposal(b, &p) == nil {
			var q Proposal
			if err := DecodeProposal(AppendProposal(nil, &p), &q); err != nil ||
				!reflect.DeepEqual(p, q) {
				t.Errorf("%+v came back as %+v, %v", p, q, err)
			}
		}
		var r Result
		if _, err := DecodeResult(b, &r); err == nil {
			var q Result
			if _, err := DecodeResult(AppendResult(nil, &r), &q); err != nil ||
				!reflect.DeepEqual(r, q) {
				t.Errorf("%+v came back as %+v, %v", r, q, err)
			}
		}
	})
}

func BenchmarkDecodePut(b *testing.B) {
	put := Op{Code: CodePut, Key: []byte("key:000000123456"), Value: make([]byte, 64)}
	encoded := put.Append(nil)
	var o Op
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(encoded, &o); err != nil {
			b.Fatal(err)
		}
	}
}
