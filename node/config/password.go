package config

import (
	"os"
	"strings"
)

// EnvRequirepass is the password itself; it wins over a file.
const EnvRequirepass = "KELEK_REQUIREPASS"

const passwordBytesMax = 4096

func (s *Serve) resolvePassword(getenv func(string) string) error {
	password, err := Password(s.RequirepassFile, getenv)
	if err != nil {
		return err
	}
	if s.Password = password; password == "" {
		s.Password = s.filePassword
	}
	return nil
}

// Password reads a password from the environment or from a file, whose last line end is not part
// of it. Without either it is empty: no password.
func Password(path string, getenv func(string) string) (string, error) {
	if password := getenv(EnvRequirepass); password != "" {
		return password, nil
	}
	if path == "" {
		return "", nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", invalid("--requirepass-file: %v", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return "", invalid("--requirepass-file %s can be read by every user (mode %04o): chmod 600 %s",
			path, info.Mode().Perm(), path)
	}
	content, err := readBounded(path, passwordBytesMax)
	if err != nil {
		return "", invalid("--requirepass-file: %v", err)
	}
	password := strings.TrimRight(content, "\r\n")
	if password == "" {
		return "", invalid("--requirepass-file %s is empty: write the password into it", path)
	}
	return password, nil
}
