//go:build !mutants

package raftcore

// planted reports whether the planted bug with this number (doc.go, "Planted bugs") is switched on.
// In production it is a constant false, and the branches vanish.
func planted(int) bool { return false }
