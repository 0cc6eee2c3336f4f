package op

import "testing"

func TestSlotIsThatOfRedisCluster(t *testing.T) {
	for key, want := range map[string]uint16{
		"": 0, "123456789": 12739, "foo": 12182, "bar": 5061, "hello": 866,
		"{foo}": 12182, "a{foo}b": 12182, "{foo}{bar}": 12182, "foo{bar}{zap}": 5061,
	} {
		if got := Slot([]byte(key)); got != want {
			t.Errorf("slot of %q is %d, want %d", key, got, want)
		}
	}
	if Slot([]byte("{user1000}.following")) != Slot([]byte("{user1000}.followers")) {
		t.Error("one tag, two slots")
	}
}

// An empty or unfinished tag is part of the key.
func TestTagsThatAreNone(t *testing.T) {
	plain := func(key string) uint16 {
		var c uint16
		for i := range len(key) {
			c = c<<8 ^ crc16[byte(c>>8)^key[i]]
		}
		return c % Slots
	}
	for _, key := range []string{"foo{}{bar}", "foo{bar", "foo}bar{", "{}", "{"} {
		if got := Slot([]byte(key)); got != plain(key) {
			t.Errorf("slot of %q is %d, want %d", key, got, plain(key))
		}
	}
	if Slot([]byte("foo{{bar}}zap")) != plain("{bar") {
		t.Error("the tag ends at the first closing brace")
	}
}

// The order of keys on every disk: these numbers must never change.
func TestOrderPrefixIsPinned(t *testing.T) {
	for key, want := range map[string]uint64{
		"": 0x0003bd1b6cdd4763, "foo": 0xbe58cefc02a16712, "a{foo}b": 0xbe5b34994827605b,
	} {
		if got := OrderPrefix([]byte(key)); got != want {
			t.Errorf("prefix of %q is %#016x, want %#016x", key, got, want)
		}
		if got := uint16(OrderPrefix([]byte(key)) >> prefixHashBits); got != Slot([]byte(key)) {
			t.Errorf("prefix of %q has slot %d", key, got)
		}
	}
}
