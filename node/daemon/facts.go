package daemon

import (
	"errors"
	"io/fs"
	"syscall"

	"kelek/node"
	"kelek/resp"
	"kelek/store"
	"kelek/store/op"
)

// storeFacts is what INFO says of the store and its disk.
func (d *Daemon) storeFacts() resp.StoreFacts {
	f := d.store.Facts()
	return resp.StoreFacts{
		BlockCacheBytes: f.BlockCacheBytes, MemtableBytes: f.MemtableBytes,
		ExpiredKeys: f.ExpiredKeys, OnceEntries: f.OnceEntries,
		DiskFreeBytes: freeBytes(d.settings.Dir),
	}
}

// storageError gives an error of the store its exit code. Those of the store's own choice, when a
// write fails, have ended the process already.
func storageError(err error) error {
	var corrupt *store.CorruptError
	var kind *store.UnknownKindError
	var unknownOp op.UnknownCodeError
	var version op.UnknownVersionError
	code := node.ExitUnexpected
	switch {
	case errors.As(err, &corrupt):
		code = node.ExitCorrupt
	case errors.As(err, &kind), errors.As(err, &unknownOp), errors.As(err, &version):
		code = node.ExitNewer
	case errors.Is(err, syscall.ENOSPC):
		code = node.ExitDiskFull
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		code = node.ExitConfig
	default:
		return err
	}
	return &node.ExitError{Code: code, Err: err}
}
