import time


class _BaseDataLoaderIter:
    def __init__(self, waits):
        self.waits = iter(waits)

    def __iter__(self):
        return self

    def __next__(self):
        time.sleep(next(self.waits))
        return 1
