package client

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Shell is `kelek cli`: it sends commands to the first node that answers and prints the replies.
type Shell struct {
	Dialer Dialer
	In     io.Reader
	Out    io.Writer
	Err    io.Writer // messages that are not replies
	Raw    bool      // bare text instead of types and quotes

	conn *Conn
}

// scriptLineBytesMax bounds a line on standard input: a command with a value of the largest size.
const scriptLineBytesMax = 128 << 20

// Run executes one command and returns the exit code: 0, or 1 for an error reply or a lost
// connection.
func (s *Shell) Run(args []string) int {
	defer s.hangUp()
	if err := s.execute(args); err != nil {
		return s.report(err)
	}
	return 0
}

// Script executes the lines of In, one command each, and returns 1 when one of them failed.
// Comments and empty lines are skipped.
func (s *Shell) Script() int {
	defer s.hangUp()
	lines := bufio.NewScanner(s.In)
	lines.Buffer(nil, scriptLineBytesMax)
	code := 0
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line == "" || line[0] == '#' {
			continue
		}
		if done, err := s.line(lines.Text()); err != nil {
			code = s.report(err)
		} else if done {
			return code
		}
	}
	if err := lines.Err(); err != nil {
		return s.report(fmt.Errorf("standard input: %w", err))
	}
	return code
}

// Prompt is the interactive mode on the terminal that In and Out are.
func (s *Shell) Prompt(terminal *os.File) int {
	defer s.hangUp()
	editor := &editor{in: bufio.NewReader(terminal), out: s.Out}
	fmt.Fprintln(s.Out, "Type a command, help, or quit (Ctrl-D).")
	for {
		line, err := s.readLine(terminal, editor)
		switch {
		case errors.Is(err, errInterrupted{}):
			continue
		case errors.Is(err, io.EOF):
			return 0
		case err != nil:
			return s.report(err)
		}
		if done, err := s.line(line); done {
			return 0
		} else if err != nil {
			s.report(err)
		}
	}
}

// readLine holds the terminal in raw mode only while a line is edited, so that a reply that takes
// long can be interrupted by Ctrl-C.
func (s *Shell) readLine(terminal *os.File, editor *editor) (line string, err error) {
	restore, err := rawMode(terminal)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, restore()) }()
	line, err = editor.ReadLine(s.prompt())
	return line, err
}

func (s *Shell) prompt() string {
	addr := "not connected"
	if s.conn != nil && s.conn.Err() == nil {
		addr = s.conn.Addr()
	} else if len(s.Dialer.Addrs) > 0 {
		addr = s.Dialer.Addrs[s.Dialer.next]
	}
	if s.Dialer.DB != 0 {
		addr += "[" + strconv.Itoa(s.Dialer.DB) + "]"
	}
	return addr + "> "
}

// replyError marks an error reply, which has been printed already.
type replyError struct{ ServerError }

// line executes one line of a script or of the prompt; done means that the user wants to leave.
func (s *Shell) line(line string) (done bool, err error) {
	args, err := SplitArgs(line)
	if err != nil || len(args) == 0 {
		return false, err
	}
	switch strings.ToLower(args[0]) {
	case "quit", "exit":
		return true, nil
	case "help", "?":
		_, err := io.WriteString(s.Out, promptHelp)
		return false, err
	}
	repeat, args := repetitions(args)
	for range repeat {
		if err := s.execute(args); err != nil {
			return false, err
		}
	}
	return false, nil
}

const promptHelp = `A line is one Redis command: SET k v, GET k, INCR n, MGET a b ...
  "double quotes" know \n \t \xHH, 'single quotes' are literal
  5 INCR n          a number in front repeats the command
  COMMAND COUNT     how many commands the node knows; COMMAND INFO get describes one
  INFO raft         role, term, leader and members as this node sees them
  quit              leaves (so do exit and Ctrl-D)
`

// repetitions takes the count of "5 INCR n" off, as redis-cli does.
func repetitions(args []string) (int, []string) {
	if len(args) > 1 {
		if n, err := strconv.Atoi(args[0]); err == nil && n > 0 {
			return n, args[1:]
		}
	}
	return 1, args
}

// execute sends one command and prints its reply. A connection that broke earlier is replaced, at
// the next node that answers; the command itself is never sent twice.
func (s *Shell) execute(args []string) error {
	if s.conn == nil || s.conn.Err() != nil {
		conn, err := s.Dialer.Dial()
		if err != nil {
			return err
		}
		s.conn = conn
	}
	reply, err := s.conn.Do(args...)
	if err != nil {
		return fmt.Errorf("connection lost, outcome unknown: %w", err)
	}
	if _, err := io.WriteString(s.Out, s.format(args, &reply)); err != nil {
		return err
	}
	s.remember(args, &reply)
	if err, failed := reply.Err().(ServerError); failed {
		return replyError{err}
	}
	return nil
}

// remember keeps what a new connection has to be told again.
func (s *Shell) remember(args []string, reply *Reply) {
	if len(args) < 2 || reply.Err() != nil {
		return
	}
	switch strings.ToLower(args[0]) {
	case "select":
		if db, err := strconv.Atoi(args[1]); err == nil {
			s.Dialer.DB = db
		}
	case "auth":
		s.Dialer.Password = args[len(args)-1]
	case "hello":
		s.Dialer.Resp3 = args[1] == "3"
	}
}

func (s *Shell) format(args []string, reply *Reply) string {
	if s.Raw {
		return FormatRaw(reply)
	}
	if reply.Kind == Bulk && isText(args) {
		text := strings.TrimRight(reply.Text, "\r\n")
		return strings.ReplaceAll(text, "\r\n", "\n") + "\n"
	}
	return FormatTTY(reply)
}

// isText says whether the reply of a command is meant for people, and shown without quotes.
func isText(args []string) bool {
	command := strings.ToLower(args[0])
	if command == "info" || command == "lolwut" {
		return true
	}
	if len(args) < 2 {
		return false
	}
	switch command + " " + strings.ToLower(args[1]) {
	case "cluster nodes", "cluster info", "client list", "client info", "memory doctor",
		"latency doctor", "latency graph", "debug htstats":
		return true
	}
	return false
}

// report prints what went wrong, unless it was an error reply, and returns the exit code.
func (s *Shell) report(err error) int {
	if _, printed := err.(replyError); !printed {
		fmt.Fprintf(s.Err, "kelek: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return 1
}

func (s *Shell) hangUp() {
	if s.conn != nil {
		s.conn.Close() // nothing is under way any more
		s.conn = nil
	}
}
