package op

import (
	"bytes"

	"github.com/cespare/xxhash/v2"
)

// Slots is the number of hash slots of Redis Cluster.
const Slots = 16384

// crc16 is CRC-16/XMODEM, most significant bit first, polynomial x^16 + x^12 + x^5 + 1.
var crc16 = crc16Table(0x1021)

func crc16Table(polynomial uint16) (table [256]uint16) {
	for i := range table {
		c := uint16(i) << 8
		for range 8 {
			carry := c&0x8000 != 0
			c <<= 1
			if carry {
				c ^= polynomial
			}
		}
		table[i] = c
	}
	return table
}

// Slot is the hash slot of key by the rule of Redis Cluster: of the part between the first '{' and
// the first '}' after it, when both are there with something between them; otherwise of the key.
func Slot(key []byte) uint16 {
	if open := bytes.IndexByte(key, '{'); open >= 0 {
		if length := bytes.IndexByte(key[open+1:], '}'); length > 0 {
			key = key[open+1 : open+1+length]
		}
	}
	var c uint16
	for _, b := range key {
		c = c<<8 ^ crc16[byte(c>>8)^b]
	}
	return c % Slots
}

const (
	slotBits       = 14
	prefixHashBits = 64 - slotBits
)

// OrderPrefix is where key stands in the order of a database: its slot, then 50 bits of a hash of
// the whole key. Keys of one slot are one contiguous range, and a scan resumes from a prefix alone.
//
//	63         50 49                                                0
//	+------------+--------------------------------------------------+
//	| slot       | upper bits of XXH64(key), seed 0                 |
//	+------------+--------------------------------------------------+
func OrderPrefix(key []byte) uint64 {
	return SlotPrefix(Slot(key)) | xxhash.Sum64(key)>>slotBits
}

// SlotPrefix is the least OrderPrefix that a key of slot can have.
func SlotPrefix(slot uint16) uint64 { return uint64(slot) << prefixHashBits }
