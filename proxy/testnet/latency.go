package testnet

import (
	"fmt"
	"math/bits"
	"time"
)

// Latencies is a histogram of durations with a relative error below 1/16, from
// 1 us on. The zero value is empty.
type Latencies struct {
	buckets [subBuckets * 40]uint32
	count   uint64
	max     time.Duration
}

const subBuckets = 16

func (l *Latencies) add(d time.Duration) {
	l.buckets[bucketOf(d)]++
	l.count++
	l.max = max(l.max, d)
}

func (l *Latencies) merge(o *Latencies) {
	for i, n := range o.buckets {
		l.buckets[i] += n
	}
	l.count += o.count
	l.max = max(l.max, o.max)
}

// bucketOf numbers the buckets: 16 for each power of two of microseconds.
func bucketOf(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 0))
	if us < subBuckets {
		return int(us)
	}
	exp := bits.Len64(us) - 5 // us >> exp is 16 to 31
	return min((exp+1)*subBuckets+int(us>>exp)-subBuckets, subBuckets*40-1)
}

// upperBound is the end of a bucket.
func upperBound(bucket int) time.Duration {
	if bucket < subBuckets {
		return time.Duration(bucket+1) * time.Microsecond
	}
	exp := bucket/subBuckets - 1
	return time.Duration((bucket%subBuckets+subBuckets+1)<<exp) * time.Microsecond
}

// Count is how many durations there are.
func (l *Latencies) Count() uint64 { return l.count }

// Max is the longest duration.
func (l *Latencies) Max() time.Duration { return l.max }

// Quantile is the duration that a share q of all, 0 to 1, do not exceed.
func (l *Latencies) Quantile(q float64) time.Duration {
	rank, seen := uint64(q*float64(l.count)), uint64(0)
	for i, n := range l.buckets {
		if seen += uint64(n); n > 0 && seen >= rank {
			return min(upperBound(i), l.max)
		}
	}
	return l.max
}

// String tells p50, p99 and the longest.
func (l *Latencies) String() string {
	return fmt.Sprintf("p50 %v, p99 %v, max %v", l.Quantile(0.5), l.Quantile(0.99), l.max.Round(time.Microsecond))
}
