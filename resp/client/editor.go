package client

import (
	"bufio"
	"fmt"
	"io"
	"unicode/utf8"
)

// historyMax bounds the lines that the prompt remembers; the oldest is forgotten.
const historyMax = 1000

// Keys that a terminal in raw mode sends.
const (
	keyCtrlA     = 1
	keyCtrlB     = 2
	keyCtrlC     = 3
	keyCtrlD     = 4
	keyCtrlE     = 5
	keyCtrlF     = 6
	keyBackspace = 8
	keyEnter     = 13
	keyNewline   = 10
	keyCtrlK     = 11
	keyCtrlL     = 12
	keyCtrlN     = 14
	keyCtrlP     = 16
	keyCtrlU     = 21
	keyCtrlW     = 23
	keyEscape    = 27
	keyDelete    = 127

	// What an escape sequence means, outside the range of runes.
	keyHome      = utf8.MaxRune + 1
	keyEnd       = utf8.MaxRune + 2
	keyForwardDL = utf8.MaxRune + 3
	keyUnknown   = utf8.MaxRune + 4
)

// editor reads lines from a terminal in raw mode: cursor keys, the Emacs keys everybody expects,
// and a history in memory. It is pure apart from its reader and writer, so tests type into it.
//
// Invariant: 0 <= cursor <= len(line); 0 <= at <= len(history), where at == len(history) is the
// new line, kept in draft while the user looks at older ones.
type editor struct {
	in      *bufio.Reader
	out     io.Writer
	history []string

	prompt string
	line   []rune
	cursor int
	at     int
	draft  []rune
}

// errInterrupted is Ctrl-C: the line is thrown away, the prompt goes on.
type errInterrupted struct{}

func (errInterrupted) Error() string { return "interrupted" }

// ReadLine shows the prompt and returns the line; io.EOF is Ctrl-D on an empty line.
func (e *editor) ReadLine(prompt string) (string, error) {
	e.prompt, e.line, e.cursor, e.draft = prompt, nil, 0, nil
	e.at = len(e.history)
	for {
		if err := e.paint(); err != nil {
			return "", err
		}
		key, err := e.readKey()
		if err != nil {
			return "", err
		}
		switch {
		case key == keyEnter || key == keyNewline:
			return e.finish()
		case key == keyCtrlC:
			return "", e.leave(errInterrupted{})
		case key == keyCtrlD && len(e.line) == 0:
			return "", e.leave(io.EOF)
		default:
			e.press(key)
		}
	}
}

func (e *editor) finish() (string, error) {
	line := string(e.line)
	if line != "" && (len(e.history) == 0 || e.history[len(e.history)-1] != line) {
		e.history = append(e.history, line)
	}
	if len(e.history) > historyMax {
		e.history = e.history[1:]
	}
	return line, e.leave(nil)
}

func (e *editor) leave(result error) error {
	if _, err := io.WriteString(e.out, "\r\n"); err != nil {
		return err
	}
	return result
}

// paint redraws the whole line: simple, and quick enough for a hand that types.
func (e *editor) paint() error {
	_, err := fmt.Fprintf(e.out, "\r%s%s\x1b[K", e.prompt, string(e.line))
	if back := len(e.line) - e.cursor; err == nil && back > 0 {
		_, err = fmt.Fprintf(e.out, "\x1b[%dD", back)
	}
	return err
}

func (e *editor) press(key rune) {
	switch key {
	case keyBackspace, keyDelete:
		e.erase(e.cursor-1, e.cursor)
	case keyCtrlD, keyForwardDL:
		e.erase(e.cursor, e.cursor+1)
	case keyCtrlU:
		e.erase(0, e.cursor)
	case keyCtrlK:
		e.erase(e.cursor, len(e.line))
	case keyCtrlW:
		e.erase(e.wordStart(), e.cursor)
	case keyCtrlA, keyHome:
		e.cursor = 0
	case keyCtrlE, keyEnd:
		e.cursor = len(e.line)
	case keyCtrlB:
		e.cursor = max(e.cursor-1, 0)
	case keyCtrlF:
		e.cursor = min(e.cursor+1, len(e.line))
	case keyCtrlP:
		e.recall(e.at - 1)
	case keyCtrlN:
		e.recall(e.at + 1)
	case keyCtrlL:
		io.WriteString(e.out, "\x1b[H\x1b[2J") // a failure shows at the next paint
	default:
		e.insert(key)
	}
}

func (e *editor) insert(key rune) {
	if key < ' ' && key != '\t' || key > utf8.MaxRune {
		return
	}
	tail := append([]rune{key}, e.line[e.cursor:]...)
	e.line = append(e.line[:e.cursor], tail...)
	e.cursor++
}

func (e *editor) erase(from, to int) {
	from, to = max(from, 0), min(to, len(e.line))
	if from < to {
		e.line = append(e.line[:from], e.line[to:]...)
		e.cursor = from
	}
}

func (e *editor) wordStart() int {
	i := e.cursor
	for i > 0 && e.line[i-1] == ' ' {
		i--
	}
	for i > 0 && e.line[i-1] != ' ' {
		i--
	}
	return i
}

func (e *editor) recall(at int) {
	if at < 0 || at > len(e.history) {
		return
	}
	if e.at == len(e.history) {
		e.draft = e.line
	}
	e.at = at
	if at == len(e.history) {
		e.line = e.draft
	} else {
		e.line = []rune(e.history[at])
	}
	e.cursor = len(e.line)
}

// readKey reads one key; cursor keys arrive as escape sequences and become the control key of the
// same meaning.
func (e *editor) readKey() (rune, error) {
	key, _, err := e.in.ReadRune()
	if err != nil || key != keyEscape {
		return key, err
	}
	lead, _, err := e.in.ReadRune()
	if err != nil || lead != '[' && lead != 'O' {
		return keyUnknown, err
	}
	code, _, err := e.in.ReadRune()
	if err != nil {
		return keyUnknown, err
	}
	if code >= '0' && code <= '9' {
		if plain, err := e.endSequence(); err != nil || !plain {
			return keyUnknown, err
		}
	}
	return meaning(code), nil
}

// endSequence reads the rest of "ESC [ 3 ~"; plain is false for forms with modifiers, which mean
// nothing here.
func (e *editor) endSequence() (plain bool, err error) {
	for plain = true; ; plain = false {
		c, _, err := e.in.ReadRune()
		if err != nil || c == '~' || c >= 'A' && c <= 'Z' {
			return plain && c == '~', err
		}
	}
}

func meaning(code rune) rune {
	switch code {
	case 'A':
		return keyCtrlP
	case 'B':
		return keyCtrlN
	case 'C':
		return keyCtrlF
	case 'D':
		return keyCtrlB
	case 'H', '1', '7':
		return keyHome
	case 'F', '4', '8':
		return keyEnd
	case '3':
		return keyForwardDL
	}
	return keyUnknown
}
