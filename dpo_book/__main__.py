from dpo_book.cli import main

if __name__ == "__main__":
    main()
