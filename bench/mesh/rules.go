package mesh

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// Names inside the namespaces of a run. The namespaces themselves bear the process that made them:
//
//	kelek-2417-118733-1-n3
//	      |    |      | the node, or hub
//	      |    |      the first network of that process
//	      |    when the process started, in ticks since the system did
//	      process id
const (
	hubName  = "hub"
	portName = "eth0"  // of a node, to the bridge
	chain    = "kelek" // of the rules that are replaced by each cut
)

var namespaceName = regexp.MustCompile(`^kelek-([0-9]+)-([0-9]+)-[0-9]+-[a-z0-9]+$`)

func runName(pid int, ticks string, number int64) string {
	return fmt.Sprintf("kelek-%d-%s-%d", pid, ticks, number)
}

func namespaceOf(run, name string) string { return run + "-" + name }

// maker is the process that made a namespace of a run; found: it is one.
func maker(namespace string) (pid int, ticks string, found bool) {
	parts := namespaceName.FindStringSubmatch(namespace)
	if parts == nil {
		return 0, "", false
	}
	pid, err := strconv.Atoi(parts[1])
	return pid, parts[2], err == nil
}

// addressesMax is how many nodes a run can have, one after the other: 10.0.0.1 to 10.0.255.254.
const addressesMax = 1<<16 - 2

// addressOf is the address of the k-th node, from 1 on.
func addressOf(k int) (netip.Addr, error) {
	if k > addressesMax {
		return netip.Addr{}, fmt.Errorf("node number %d: a run has addresses for %d", k, addressesMax)
	}
	return netip.AddrFrom4([4]byte{10, 0, byte(k >> 8), byte(k)}), nil
}

// hubBatch is the bridge, as commands of ip in the namespace of the hub.
const hubBatch = "link set dev lo up\nlink add name bridge type bridge\nlink set dev bridge up\n"

// portBatch joins the namespace of a node to the bridge.
func portBatch(name, namespace string) string {
	port := "port-" + name
	return fmt.Sprintf("link add name %s type veth peer name %s netns %s\n"+
		"link set dev %s master bridge up\n", port, portName, namespace, port)
}

// nodeBatch is the node's end of that.
func nodeBatch(address netip.Addr) string {
	return fmt.Sprintf("link set dev lo up\naddr add %s/16 dev %s\nlink set dev %s up\n", address,
		portName, portName)
}

// firstRules send what comes over the bridge through a chain that is still empty. What the node's
// clients send does not come that way.
const firstRules = "*filter\n:" + chain + " - [0:0]\n-A INPUT -i " + portName + " -j " + chain +
	"\nCOMMIT\n"

// cutRules replace the chain, all at once: the line with the colon empties it.
func cutRules(from []netip.Addr) string {
	var rules strings.Builder
	rules.WriteString("*filter\n:" + chain + " - [0:0]\n")
	for _, address := range from {
		fmt.Fprintf(&rules, "-A %s -s %s -j DROP\n", chain, address)
	}
	rules.WriteString("COMMIT\n")
	return rules.String()
}

// resetCommand lets the system break its connections with some addresses, as an administrator may.
func resetCommand(others []netip.Addr) []string {
	command := []string{"ss", "-K", "-H", "-n", "-t"}
	for i, address := range others {
		if i > 0 {
			command = append(command, "or")
		}
		command = append(command, "dst", address.String())
	}
	return command
}
