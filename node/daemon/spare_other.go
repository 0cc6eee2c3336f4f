//go:build !linux

package daemon

// machineSpare is not known on this system.
func machineSpare() spare { return spare{} }
