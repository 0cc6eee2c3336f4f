package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// tools are the programs that Namespaces uses, and the packages that have them nearly everywhere.
var tools = []struct{ name, from string }{
	{"ip", "iproute2"}, {"ss", "iproute2"}, {"iptables-restore", "iptables"},
}

// NamespacesSupported says what is missing here for Namespaces, or nil. What the system allows is
// seen only when it is tried.
func NamespacesSupported() error { return lacking(runtime.GOOS, os.Geteuid(), exec.LookPath) }

func lacking(system string, user int, find func(string) (string, error)) error {
	if system != "linux" {
		return fmt.Errorf("only Linux has network namespaces, and this is %s", system)
	}
	var missing []string
	if user != 0 {
		missing = append(missing, fmt.Sprintf("root (this is user %d)", user))
	}
	for _, t := range tools {
		if _, err := find(t.name); err != nil {
			missing = append(missing, fmt.Sprintf("the program %s (package %s)", t.name, t.from))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return errors.New("network namespaces need " + strings.Join(missing, " and "))
}

// toolLimit is far above what any of them takes.
const toolLimit = 30 * time.Second

// tool runs a program and returns what it says.
func tool(input, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), toolLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(input)
	apart(cmd)
	output, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(output))
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, text)
	}
	return text, nil
}

// within runs a program in a namespace.
func within(namespace, input string, line ...string) (string, error) {
	return tool(input, "ip", append([]string{"netns", "exec", namespace}, line...)...)
}

// tryReset breaks a connection of the hub with itself. Kernels can be built without that, and ss
// says nothing then; why is nil if it works.
func tryReset(hub string) (why, err error) {
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	var listener net.Listener
	var conn net.Conn
	err = inside(hub, func() (err error) {
		if listener, err = net.Listen("tcp", netip.AddrPortFrom(loopback, 0).String()); err == nil {
			conn, err = net.Dial("tcp", listener.Addr().String())
		}
		return err
	})
	if listener != nil {
		defer listener.Close() // nothing was sent
	}
	if err != nil {
		return nil, err
	}
	defer conn.Close() // nor here
	broken, err := within(hub, "", resetCommand([]netip.Addr{loopback})...)
	if err == nil && broken == "" {
		why = errors.New("ss -K breaks no connection: this kernel is built without INET_DIAG_DESTROY")
	}
	return why, err
}
