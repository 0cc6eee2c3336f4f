package store

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// replaceFile gives a file a new content, all or nothing: after a crash it has the old content or
// the new one, and after a return without an error the new one. The order is what makes it so: the
// bytes are on the disk before the name leads to them, and the name before anybody relies on it.
func replaceFile(fs vfs.FS, dir, name string, content []byte) error {
	path, beside := fs.PathJoin(dir, name), fs.PathJoin(dir, name+".new")
	f, err := fs.Create(beside, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("create %s: %w", beside, err)
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", beside, err)
	}
	if err := fs.Rename(beside, path); err != nil {
		return fmt.Errorf("rename to %s: %w", path, err)
	}
	return syncDir(fs, dir)
}

// readFile returns the content of a file; found is false when there is none.
func readFile(fs vfs.FS, path string) (content []byte, found bool, err error) {
	f, err := fs.Open(path, vfs.SequentialReadsOption)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("open %s: %w", path, err)
	}
	content, err = io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, false, fmt.Errorf("read %s: %w", path, err)
	}
	return content, true, nil
}

// syncDir makes what was created, renamed and removed in a directory durable.
func syncDir(fs vfs.FS, path string) error {
	dir, err := fs.OpenDir(path)
	if err != nil {
		return fmt.Errorf("open directory %s: %w", path, err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", path, err)
	}
	return nil
}

// exists reports whether there is something at path.
func exists(fs vfs.FS, path string) (bool, error) {
	_, err := fs.Stat(path)
	if errors.Is(err, iofs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
